"""``mmattn.WithPlugins``: any attention block at any place of any backbone, neck or head.

    dict(type='mmattn.WithPlugins',
         inner=dict(type='mmdet.ResNet', depth=18, init_cfg=dict(type='Pretrained', ...)),
         plugins=[dict(cfg=dict(type='mmattn.CBAM'), stages=(False, True, True, True)),
                  dict(cfg=dict(type='mmattn.ECA'), at='layer3.*.conv2')])

What is built is the inner network itself, class and all. The blocks lie in it under ``plugins`` and
are called by forward hooks, so the names of its weights stay what they were: pretrained files load,
``frozen_stages`` freezes what it froze before, and a detector that asks for an attribute of its
backbone finds it. How many channels a place has is found by running the network once
(``mmattn.plugins.dry_run``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.model import ModuleDict
from torch import Tensor, nn

from mmattn.errors import ConfigError, did_you_mean
from mmattn.registry import MODELS

from .blocks import build_block
from .dry_run import Seen, dry_run, is_head, preserve_state
from .feature_maps import Grid, Layout, apply_to_map, find_layout, grid_of
from .patterns import matching

_ENTRY_KEYS = ("cfg", "stages", "at", "frozen")


@MODELS.register_module()
def WithPlugins(
    inner: Mapping[str, Any] | nn.Module,
    plugins: Sequence[Mapping[str, Any]],
    *,
    input_shapes: Sequence[tuple[int, int, int]] | None = None,
    pretrained: str | None = None,
) -> nn.Module:
    """Build ``inner`` and put blocks into it.

    Args:
        inner: The config of a backbone, neck or head, of any scope; or the module itself.
        plugins: The blocks. Of each entry:

            - ``cfg``: the block, as for ``plugins=`` of mmdet's ResNet. ``in_channels`` is found.
            - ``stages``: after which of the maps that the network returns, as one boolean for each
              of them or as their indices. The network's own later stages see the map without it.
            - ``at``: a pattern or a list of patterns; the block goes behind every submodule whose
              name matches, each with weights of its own, and all that follows sees its output.
              ``*``, ``?`` and ``[…]`` match within one part of a name: ``'layer3.*.conv2'``.
            - ``frozen``: whether its weights and statistics are left as they are; False.

            Exactly one of ``stages`` and ``at``. Entries at one place act in their order.
        input_shapes: (C, H, W) of each map that a neck or head takes, or of an image, for networks
            on which made-up input does not work.
        pretrained: For ``inner``; mmseg hands ``model.pretrained`` to its backbone this way.

    Returns:
        The inner network, with a new child ``plugins``.

    Raises:
        ConfigError: A pattern that matches nothing, ``stages`` of another length, a block that does
            not exist or cannot work with the channels at its place.
    """
    if isinstance(inner, nn.Module):
        if pretrained is not None:
            raise ConfigError("WithPlugins: pretrained is for an inner config, not a module.")
        network = inner
    elif isinstance(inner, Mapping):
        network = MODELS.build({**inner, "pretrained": pretrained} if pretrained else inner)
    else:
        raise ConfigError(f"WithPlugins: inner must be a config with a `type`, got {inner!r}.")
    entries = [_Entry.read(entry, index) for index, entry in enumerate(_listed(plugins))]
    if not entries:
        return network
    names = {entry.index: entry.matches(network) for entry in entries}
    watched = dict.fromkeys(["", *(name for found in names.values() for name in found)])
    seen = dry_run(network, list(watched), input_shapes=input_shapes)

    container = _container(network)
    container.out_channels = _returned_channels(seen[""])
    for entry in entries:
        for place in entry.places(network, names[entry.index], seen):
            container.attach(network, place, entry)
    return network


class Plugins(ModuleDict):
    """The blocks of a network, in the order in which they were given.

    Attributes:
        out_channels: Of the maps that the network returns, None where it returns something else.
    """

    # For the report of mmattn.io.load: a file of the network alone lacks nothing.
    allow_missing_keys = True

    def __init__(self) -> None:
        super().__init__()
        self.out_channels: list[int] | None = None
        self.initialised = False
        self._frozen: list[str] = []
        self._hooks: list[tuple[str, _Attached]] = []
        self.register_load_state_dict_pre_hook(_note_loading)

    def attach(self, network: nn.Module, place: _Place, entry: _Entry) -> None:
        """Build the block of ``entry`` for ``place`` and have it called there."""
        name, block = build_block(entry.cfg, place.layout.channels, place=f"{entry} {place}")
        _check_shape(block, place, entry)
        key = self._free(f"{place.key}_{name}")
        self[key] = block
        if entry.frozen:
            block.requires_grad_(False).eval()
            self._frozen.append(key)
        self._hooks.append((place.module, _Attached(self, key, place.item, place.layout)))
        self.hook_into(network)

    def hook_into(self, network: nn.Module) -> None:
        """Have every block called that is not.

        A place may be another module by now: mmengine and torch replace norms by others when they
        convert them from or to those that are synchronised.
        """
        for name, hook in self._hooks:
            module = network.get_submodule(name)
            if all(present is not hook for present in module._forward_hooks.values()):
                module.register_forward_hook(hook, with_kwargs=True)

    def _free(self, key: str) -> str:
        count = 2
        wanted = key
        while key in self:
            key = f"{wanted}_{count}"
            count += 1
        return key

    def init_weights(self) -> None:
        """Let every block that has an initial state of its own take it."""
        for block in self.values():
            if hasattr(block, "init_weights"):
                block.init_weights()
        self.initialised = True

    def train(self, mode: bool = True) -> Plugins:
        super().train(mode)
        for key in self._frozen:
            self[key].eval()
        return self


class _Attached:
    """The forward hook that applies one block to (one item of) what a module returns.

    An object, so that a deep copy of the network calls the copied block.
    """

    def __init__(self, plugins: Plugins, key: str, item: Any, layout: Layout):
        self.plugins = plugins
        self.key = key
        self.item = item
        self.layout = layout

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        block = self.plugins[self.key]
        x = output if self.item is None else output[self.item]
        grid = grid_of(x, args, kwargs) if self.layout.order == "NLC" else None
        y = apply_to_map(block, x, self.layout, grid)
        if self.item is None:
            return y
        if isinstance(output, Mapping):
            return {**output, self.item: y}
        items = list(output)
        items[self.item] = y
        if hasattr(output, "_fields"):
            return type(output)(*items)
        return items if isinstance(output, list) else tuple(items)


@dataclass(frozen=True)
class _Place:
    """Where one block goes.

    Attributes:
        module: Name of the submodule, ``""`` for the network.
        item: Which item of its output, None for the output itself.
        layout: Of the map there.
        key: The beginning of the block's name in ``plugins``.
        shown: For messages.
    """

    module: str
    item: Any
    layout: Layout
    key: str
    shown: str

    def __str__(self) -> str:
        return self.shown


@dataclass(frozen=True)
class _Entry:
    """One entry of ``plugins``, checked."""

    index: int
    cfg: Mapping[str, Any]
    stages: Sequence[int] | Sequence[bool] | None
    at: tuple[str, ...]
    frozen: bool

    def __str__(self) -> str:
        return f"WithPlugins: plugins[{self.index}]"

    @classmethod
    def read(cls, entry: Any, index: int) -> _Entry:
        where = f"WithPlugins: plugins[{index}]"
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{where} must be a dict with `cfg` and `stages` or `at`: {entry!r}.")
        for key in entry:
            if key not in _ENTRY_KEYS:
                raise ConfigError(
                    f"{where} has {key!r}, but takes {', '.join(_ENTRY_KEYS)}.{_entry_hint(key)}"
                )
        if "cfg" not in entry:
            raise ConfigError(f"{where} has no `cfg`, the config of the block.")
        stages, at = entry.get("stages"), entry.get("at")
        if (stages is None) == (at is None):
            found = "both" if at is not None else "neither"
            raise ConfigError(
                f"{where} has {found} of `stages` (maps that the network returns) and `at` "
                "(names of its submodules); give one."
            )
        patterns = (at,) if isinstance(at, str) else tuple(at or ())
        if at is not None and not (patterns and all(isinstance(p, str) and p for p in patterns)):
            raise ConfigError(f"{where}: at must be a pattern or a list of patterns, got {at!r}.")
        return cls(index, entry["cfg"], stages, patterns, bool(entry.get("frozen", False)))

    def matches(self, network: nn.Module) -> list[str]:
        """Names of the submodules that this entry is about."""
        if self.stages is not None:
            if is_head(network):
                raise ConfigError(
                    f"{self}.stages is for the maps of backbones and necks, but "
                    f"{type(network).__name__} is a head: name submodules of it with `at`."
                )
            return [""]
        return matching(network, self.at, where=f"{self}.at")

    def places(
        self, network: nn.Module, names: Sequence[str], seen: Mapping[str, Seen]
    ) -> Iterator[_Place]:
        if self.stages is not None:
            yield from self._returned(network, seen[""])
            return
        for name in names:
            record = seen[name]
            if not record.outputs:
                raise ConfigError(
                    f"{self}.at: {type(network).__name__} has {name!r} but never calls it (it is "
                    "unused, or only its parts are called), so nothing can be put behind it."
                )
            item, shapes = _single_map(record.outputs)
            layout = self._layout(shapes, record.grids, record.image, f"{name!r}")
            shown = f"behind {name!r}"
            yield _Place(name, item, layout, name.replace(".", "_"), shown)

    def _returned(self, network: nn.Module, record: Seen) -> Iterator[_Place]:
        keys = _items(record.outputs[0])
        for number in self._chosen(network, len(keys), record.outputs[0]):
            key = keys[number]
            shapes = _shapes_of_item(record, key)
            layout = self._layout(shapes, [None] * len(shapes), record.image, f"map {number}")
            yield _Place("", key, layout, f"map{number}", f"on map {number}")

    def _chosen(self, network: nn.Module, count: int, shapes: Any) -> list[int]:
        stages = self.stages
        if isinstance(stages, (str, bytes)) or not isinstance(stages, Sequence):
            raise ConfigError(
                f"{self}.stages must be booleans or indices of the {count} returned maps, "
                f"got {stages!r}."
            )
        network_returns = f"{type(network).__name__} returns {count} maps: {shapes}"
        if all(isinstance(one, bool) for one in stages):
            if len(stages) != count:
                raise ConfigError(
                    f"{self}.stages has {len(stages)} booleans, but {network_returns}. "
                    "Give one for each of them, or their indices."
                )
            return [number for number, chosen in enumerate(stages) if chosen]
        if not all(type(one) is int and 0 <= one < count for one in stages):
            raise ConfigError(
                f"{self}.stages={tuple(stages)!r}: indices must be 0 to {count - 1}, since "
                f"{network_returns}."
            )
        if len(set(stages)) < len(stages):
            raise ConfigError(
                f"{self}.stages={tuple(stages)!r} names a map twice: integers are indices of maps. "
                "To choose each map by yes or no, write True and False."
            )
        return sorted(stages)

    def _layout(
        self, shapes: Sequence[Any], grids: Sequence, image: Grid | None, what: str
    ) -> Layout:
        try:
            for shape in shapes:
                if not isinstance(shape, tuple):
                    raise ValueError(f"returns {shape!r}, not one map")
            return find_layout(shapes, grids, image)
        except ValueError as error:
            raise ConfigError(f"{self}: {what} {error}.") from error


def _listed(plugins: Any) -> Sequence[Any]:
    if isinstance(plugins, (list, tuple)):
        return plugins
    raise ConfigError(f"WithPlugins: plugins must be a list of dicts, got {plugins!r}.")


def _entry_hint(key: str) -> str:
    if key == "position":
        return " Positions belong to the slots of ResNet itself; here `at` names submodules."
    return did_you_mean(key, _ENTRY_KEYS)


def _items(output: Any) -> list[Any]:
    """Keys of what a module returned; [None] where it is one tensor."""
    if isinstance(output, tuple):  # a shape
        return [None]
    return list(output) if isinstance(output, dict) else list(range(len(output)))


def _shapes_of_item(record: Seen, key: Any) -> list[Any]:
    return [output if key is None else output[key] for output in record.outputs]


def _returned_channels(record: Seen) -> list[int] | None:
    """Channels of the maps that the network returns, if maps are what it returns."""
    try:
        shapes = [_shapes_of_item(record, key) for key in _items(record.outputs[0])]
        none = [None] * len(record.outputs)
        return [find_layout(one, none, record.image).channels for one in shapes]
    except (TypeError, ValueError):
        return None


def _single_map(outputs: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Which item of an output is its only map (None: the output itself), and the shapes of that."""
    first = outputs[0]
    if isinstance(first, list):
        maps = [i for i, one in enumerate(first) if isinstance(one, tuple) and len(one) == 4]
        if len(maps) == 1:
            return maps[0], [output[maps[0]] for output in outputs]
    return None, list(outputs)


def _container(network: nn.Module) -> Plugins:
    """The network's ``plugins``, made where it has none."""
    present = network._modules.get("plugins")
    if isinstance(present, Plugins):
        return present
    if present is not None:
        raise ConfigError(
            f"WithPlugins: {type(network).__name__} has a submodule called 'plugins' already."
        )
    network.plugins = Plugins()
    # On the instance, as objects that a deep copy binds to the copy.
    network.init_weights = partial(_init_weights, network)
    network.train = partial(_train, network)
    return network.plugins


def _init_weights(network: nn.Module) -> None:
    """The network's own initialisation, then that of blocks which it did not ask for theirs.

    Several networks initialise all their linear layers and norms, and so those of blocks, and never
    call ``init_weights`` of their parts. Weights that a checkpoint brought for the blocks stay.
    """
    own = getattr(type(network), "init_weights", None)
    if getattr(network, "is_init", False) and network.plugins.initialised:
        if own is not None:
            own(network)  # which says that once is enough
        return
    network.plugins.initialised = False
    if own is not None:
        own(network)
    if not network.plugins.initialised:
        network.plugins.init_weights()


def _note_loading(plugins: Plugins, state_dict: Mapping[str, Any], prefix: str, *_) -> None:
    if any(key.startswith(prefix) for key in state_dict):
        plugins.initialised = True


def _train(network: nn.Module, mode: bool = True) -> nn.Module:
    """The network's own ``train``, after which blocks are in ``mode`` whatever it froze.

    ``norm_eval`` keeps statistics that were learnt before; a new block has none yet. Whoever
    replaces modules of a network calls this next, so it is here that blocks follow.
    """
    type(network).train(network, mode)
    network.plugins.train(mode)
    network.plugins.hook_into(network)
    return network


def _check_shape(block: nn.Module, place: _Place, entry: _Entry) -> None:
    """Refuse a block that changes the shape of its input."""
    weight = next(block.parameters(), torch.empty(0))
    x = weight.new_zeros((1, place.layout.channels, 5, 7))
    with preserve_state(block), torch.no_grad():
        y = block(x)
    if not isinstance(y, Tensor) or y.shape != x.shape:
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ConfigError(
            f"{entry} {place}: {type(block).__name__} turns {tuple(x.shape)} into {got}, but a "
            "block has to keep the shape."
        )
