"""The child module ``plugins`` of a network: its blocks, and the hooks that call them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from mmengine.model import ModuleDict
from torch import Tensor, nn

from mmattn.errors import ConfigError

from .blocks import build_block
from .dry_run import preserve_state
from .entries import InsertionPoint, PluginEntry
from .feature_maps import Layout, apply_to_map, grid_of


class Plugins(ModuleDict):
    """The blocks of a network, in the order in which they were given.

    Attributes:
        out_channels: Channels of the feature maps that the network returns, None where it returns
            something else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.out_channels: list[int] | None = None
        self.initialised = False
        self._frozen: list[str] = []
        self._hooks: list[tuple[str, _BlockHook]] = []
        self.register_load_state_dict_pre_hook(_note_loading)

    def attach(self, network: nn.Module, point: InsertionPoint, entry: PluginEntry) -> None:
        """Build the block of ``entry`` and register the hook that calls it at ``point``."""
        name, block = build_block(entry.cfg, point.layout.channels, place=f"{entry} {point}")
        _check_shape(block, point, entry)
        key = self._unused_key(f"{point.key}_{name}")
        self[key] = block
        if entry.frozen:
            block.requires_grad_(False).eval()
            self._frozen.append(key)
        self._hooks.append((point.module, _BlockHook(self, key, point.item, point.layout)))
        self.hook_into(network)

    def hook_into(self, network: nn.Module) -> None:
        """Register the hooks that are not registered.

        A submodule may be another one by now: mmengine and torch replace norms by others when they
        convert them from or to those that are synchronised.
        """
        for name, hook in self._hooks:
            module = network.get_submodule(name)
            if all(present is not hook for present in module._forward_hooks.values()):
                module.register_forward_hook(hook, with_kwargs=True)

    def _unused_key(self, wanted: str) -> str:
        key, count = wanted, 2
        while key in self:
            key = f"{wanted}_{count}"
            count += 1
        return key

    def init_weights(self) -> None:
        """Initialise every block that has an initial state of its own."""
        for block in self.values():
            init_weights = getattr(block, "init_weights", None)
            if init_weights is not None:
                init_weights()
        self.initialised = True

    def train(self, mode: bool = True) -> Plugins:
        """Set the mode of all blocks but the frozen ones, which stay in eval mode."""
        super().train(mode)
        for key in self._frozen:
            self[key].eval()
        return self


class _BlockHook:
    """The forward hook that applies one block to (one item of) what a module returns.

    An object, so that a deep copy of the network calls the copied block.
    """

    def __init__(self, plugins: Plugins, key: str, item: Any, layout: Layout) -> None:
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


def plugins_of(network: nn.Module) -> Plugins:
    """Return the network's child ``plugins``, added to it where it has none.

    Raises:
        ConfigError: The network has another submodule of that name.
    """
    present = network._modules.get("plugins")
    if isinstance(present, Plugins):
        return present
    if present is not None:
        raise ConfigError(
            f"WithPlugins: {type(network).__name__} has a submodule called 'plugins' already."
        )
    network.plugins = plugins = Plugins()
    # On the instance, as objects that a deep copy binds to the copy.
    vars(network).update(
        init_weights=partial(_init_weights, network), train=partial(_train, network)
    )
    return plugins


def _init_weights(network: nn.Module) -> None:
    """Initialise the network in its own way, then those blocks that it did not initialise.

    Several networks initialise all their linear layers and norms, and so those of blocks, and never
    call ``init_weights`` of their parts. Weights that a checkpoint brought for the blocks stay.
    """
    plugins = plugins_of(network)
    own = getattr(type(network), "init_weights", None)
    if getattr(network, "is_init", False) and plugins.initialised:
        if own is not None:
            own(network)  # which says that once is enough
        return
    plugins.initialised = False
    if own is not None:
        own(network)
    if not plugins.initialised:
        plugins.init_weights()


def _note_loading(plugins: Plugins, state_dict: Mapping[str, Any], prefix: str, *_) -> None:
    if any(key.startswith(prefix) for key in state_dict):
        plugins.initialised = True


def _train(network: nn.Module, mode: bool = True) -> nn.Module:
    """Set the network's mode in its own way, then that of the blocks, whatever it froze.

    ``norm_eval`` keeps statistics that were learnt before; a new block has none yet. Whoever
    replaces modules of a network calls this next, so it is here that blocks follow.
    """
    type(network).train(network, mode)
    plugins = plugins_of(network)
    plugins.train(mode)
    plugins.hook_into(network)
    return network


def _check_shape(block: nn.Module, point: InsertionPoint, entry: PluginEntry) -> None:
    """Refuse a block that changes the shape of its input."""
    weight = next(block.parameters(), torch.empty(0))
    x = weight.new_zeros((1, point.layout.channels, 5, 7))
    with preserve_state(block), torch.no_grad():
        y = block(x)
    if not isinstance(y, Tensor) or y.shape != x.shape:
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ConfigError(
            f"{entry} {point}: {type(block).__name__} turns {tuple(x.shape)} into {got}, but a "
            "block has to keep the shape."
        )
