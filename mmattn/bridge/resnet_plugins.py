"""Mends ``plugins=[…]`` of mmdet's and mmseg's ResNets, in place.

    ResNet(depth=18, plugins=[dict(cfg=dict(type='mmattn.CBAM'), stages=(False, True, True, True),
                                   position='after_conv2')])

Upstream's BasicBlock (depths 18 and 34) refuses plugins; mmseg's Bottleneck lets only the last of
several at one position act; and blocks that are wider inside than a plain one (mmseg's ResNeXt,
both ResNeSts, Res2Net) build theirs for the wrong number of channels. Here every block gets its
plugins after its own constructor has run, for the channels that its convolutions really have and
under the names that upstream's Bottleneck gives them (``layer1.0.cbam.…``). Without plugins
upstream's code runs untouched.

A plugin sees the map after a convolution's norm and activation; after the last convolution, where
upstream has no activation, it sees what is about to be added to the shortcut.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Modules that define ``BasicBlock``, ``Bottleneck`` and ``ResNet``.
RESNETS = ("mmdet.models.backbones.resnet", "mmseg.models.backbones.resnet")
#: Modules whose blocks change their width after the base's constructor -> the class.
WIDE_BLOCKS = {
    "mmdet.models.backbones.resnext": "Bottleneck",
    "mmdet.models.backbones.resnest": "Bottleneck",
    "mmdet.models.backbones.res2net": "Bottle2neck",
    "mmdet.models.backbones.detectors_resnext": "Bottleneck",
    "mmseg.models.backbones.resnext": "Bottleneck",
    "mmseg.models.backbones.resnest": "Bottleneck",
}
_ENTRY_KEYS = ("cfg", "stages", "position")


def patch_resnet(module: ModuleType) -> None:
    """Let the blocks of ``module``, one of ``RESNETS``, take plugins, and its ResNet check them."""
    if hasattr(module.BasicBlock.forward, "__wrapped__"):
        return
    for block in (module.BasicBlock, module.Bottleneck):
        _take_plugins_last(block)
        block.make_block_plugins = _make_block_plugins
        block.forward_plugin = _forward_plugin
        block.with_plugins = False
    module.BasicBlock.forward = _forward_with_plugins(module.BasicBlock.forward)
    module.ResNet.make_stage_plugins = _checking_entries(module.ResNet.make_stage_plugins)


def patch_wide_block(module: ModuleType) -> None:
    """Let the block of ``module``, one of ``WIDE_BLOCKS``, build its plugins when complete."""
    _take_plugins_last(getattr(module, WIDE_BLOCKS[module.__name__]))


def _take_plugins_last(block: type[nn.Module]) -> None:
    """Make ``block`` build itself without plugins, and then those."""
    init = block.__init__
    if hasattr(init, "__wrapped__"):
        return
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapper(self, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        extra = given.arguments.get("kwargs", {})
        holder = given.arguments if "plugins" in given.arguments else extra
        plugins = holder.pop("plugins", None)
        init(*given.args, **given.kwargs)
        if plugins is not None:
            _attach(self, plugins)

    block.__init__ = wrapper


def _attach(block: nn.Module, plugins: Sequence[Mapping[str, Any]]) -> None:
    """Build ``plugins`` for a block whose convolutions are there, with upstream's attributes."""
    channels = _channels(block)
    numbered = [(p.get("index", number), p) for number, p in enumerate(plugins)]
    positions = [_position(block, plugin, channels, index) for index, plugin in numbered]
    _refuse_foreign_forward(block)
    block.plugins = plugins
    block.with_plugins = True
    for position, width in channels.items():
        chosen = [one for one, at in zip(numbered, positions, strict=True) if at == position]
        here = [plugin["cfg"] for _, plugin in chosen]
        names = block.make_block_plugins(width, here, [index for index, _ in chosen])
        setattr(block, f"{position}_plugins", here)
        setattr(block, f"{position}_plugin_names", names)


def _channels(block: nn.Module) -> dict[str, int]:
    """Position -> channels of the map there."""
    if not hasattr(block, "conv3"):
        return {"after_conv1": block.conv1.out_channels, "after_conv2": block.conv2.out_channels}
    return {
        "after_conv1": block.conv1.out_channels,
        # Not every block has a conv2, but each has what its last convolution takes.
        "after_conv2": block.conv3.in_channels,
        "after_conv3": block.conv3.out_channels,
    }


def _position(
    block: nn.Module, plugin: Mapping[str, Any], known: Mapping[str, int], index: int
) -> str:
    name = type(block).__name__
    position = plugin.get("position")
    if position in known:
        return position
    choices = " or ".join(map(repr, known))
    if position == "after_conv3":
        raise ConfigError(
            f"plugins[{index}]: position 'after_conv3' does not exist in {name}, the block of "
            f"ResNet-18 and -34, which has two convolutions; use {choices}."
        )
    raise ConfigError(
        f"plugins[{index}]: {name} has no position {position!r}."
        f"{did_you_mean(str(position), known)} It has {choices}."
    )


def _refuse_foreign_forward(block: nn.Module) -> None:
    """A BasicBlock of somebody's that has a ``forward`` of its own would ignore its plugins."""
    if not hasattr(block, "conv3") and not hasattr(type(block).forward, "__wrapped__"):
        raise ConfigError(
            f"plugins: {type(block).__module__}.{type(block).__name__} has a forward of its own, "
            "which takes no plugins; use mmattn.WithPlugins."
        )


def _make_block_plugins(
    self: nn.Module,
    in_channels: int,
    plugins: Sequence[Mapping[str, Any]],
    indices: Sequence[int] | None = None,
) -> list[str]:
    """Upstream's method of this name, with typed errors, which tell the ``indices`` of plugins.

    Raises:
        ConfigError: No such plugin, one that cannot work with the channels, or a name used twice.
    """
    from mmattn.plugins.blocks import build_block

    names = []
    for index, cfg in zip(indices or range(len(plugins)), plugins, strict=True):
        place = f"plugins[{index}] in {type(self).__name__}"
        name, layer = build_block(cfg, in_channels, place=place)
        if hasattr(self, name):
            raise ConfigError(
                f"{place} is called {name!r}, as another part there is. Give it a postfix: "
                f"cfg=dict(type={cfg['type']!r}, postfix='2')."
            )
        self.add_module(name, layer)
        names.append(name)
    return names


def _forward_plugin(self: nn.Module, x: Tensor, plugin_names: Sequence[str]) -> Tensor:
    """All plugins of one position, one after the other."""
    for name in plugin_names:
        x = getattr(self, name)(x)
    return x


def _forward_with_plugins(original: Callable) -> Callable:
    """BasicBlock's ``forward``, with plugins at its two positions where it has any."""
    from torch.utils.checkpoint import checkpoint

    @functools.wraps(original)
    def forward(self, x: Tensor) -> Tensor:
        if not self.with_plugins:
            return original(self, x)

        def residual(x: Tensor) -> Tensor:
            out = self.relu(self.norm1(self.conv1(x)))
            out = self.forward_plugin(out, self.after_conv1_plugin_names)
            out = self.norm2(self.conv2(out))
            out = self.forward_plugin(out, self.after_conv2_plugin_names)
            identity = x if self.downsample is None else self.downsample(x)
            return out + identity

        if self.with_cp and x.requires_grad:
            return self.relu(checkpoint(residual, x, use_reentrant=False))
        return self.relu(residual(x))

    return forward


def _checking_entries(original: Callable) -> Callable:
    """``make_stage_plugins``, whose assertions are errors that say what is meant."""

    @functools.wraps(original)
    def make_stage_plugins(self, plugins: Any, stage_idx: int) -> list[dict]:
        if not isinstance(plugins, (list, tuple)):
            raise ConfigError(f"plugins must be a list of dicts, got {plugins!r}.")
        for index, plugin in enumerate(plugins):
            where = f"plugins[{index}]"
            for key in plugin if isinstance(plugin, Mapping) else ():
                if key not in _ENTRY_KEYS:
                    hint = did_you_mean(key, _ENTRY_KEYS)
                    if key == "at":
                        hint = " Patterns of names are for mmattn.WithPlugins."
                    raise ConfigError(f"{where} takes no {key!r}.{hint}")
            if not isinstance(plugin, Mapping) or not {"cfg", "position"} <= plugin.keys():
                raise ConfigError(f"{where} must be a dict with cfg and position, got {plugin!r}.")
            stages = plugin.get("stages")
            if stages is not None and any(one not in (0, 1) for one in stages):
                raise ConfigError(
                    f"{where}.stages={tuple(stages)} must say True or False for each of the "
                    f"network's {self.num_stages} stages; indices are for mmattn.WithPlugins."
                )
            if stages is not None and len(stages) != self.num_stages:
                raise ConfigError(
                    f"{where}.stages={tuple(stages)} has {len(stages)} entries, but the network "
                    f"has {self.num_stages} stages: give a boolean for each."
                )
        # Upstream's method chooses those of the stage; errors about them shall name the entry.
        numbered = [{**plugin, "index": index} for index, plugin in enumerate(plugins)]
        return original(self, numbered, stage_idx)

    return make_stage_plugins
