"""Modules by name, and the feature maps that they return."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmattn.errors import ConfigError, did_you_mean, reason_of
from mmattn.plugins.feature_maps import grid_of

_ITEM = re.compile(r"(.+)\[(-?\d+)\]$")


def find_modules(model: nn.Module, name: str) -> dict[str, nn.Module]:
    """Return the modules that a name or a pattern stands for; ``*`` stands for any letters.

    Raises:
        ConfigError: There is none; the message has the nearest names.
    """
    modules = dict(model.named_modules())
    modules.pop("")
    if name in modules:
        return {name: modules[name]}
    found = {key: module for key, module in modules.items() if fnmatch.fnmatchcase(key, name)}
    if not found:
        parts = ", ".join(key for key, _ in model.named_children())
        raise ConfigError(
            f"--at {name}: the model has no such module.{did_you_mean(name, modules)} Its parts "
            f"are {parts}"
        )
    return found


@dataclass
class FeatureLayer:
    """A module whose output is looked at.

    Attributes:
        name: Name of the module, with ``[i]`` where it returns several maps.
        module: The module.
        item: Index of the map; None where it returns one, or where the gradient decides.
    """

    name: str
    module: nn.Module
    item: int | None = None


def feature_layer(model: nn.Module, at: str) -> FeatureLayer:
    """Return the layer that ``--at`` names: a module, ``module[i]``, or ``auto``.

    ``auto`` is the neck of a detector, of whose levels the gradient chooses one, and else the
    backbone's last feature map.

    Raises:
        ConfigError: The model has no such module, or a pattern stands for several.
    """
    if at == "auto":
        name = "neck" if isinstance(getattr(model, "neck", None), nn.Module) else "backbone"
        if not isinstance(getattr(model, name, None), nn.Module):
            raise ConfigError(
                f"--at auto: {type(model).__name__} has no backbone; give --at MODULE"
            )
        segmentor = hasattr(model, "decode_head")
        return FeatureLayer(name, getattr(model, name), -1 if segmentor else None)
    match = _ITEM.match(at)
    item = None
    if match and match[1] in dict(model.named_modules()):
        at, item = match[1], int(match[2])
    found = find_modules(model, at)
    if len(found) > 1:
        raise ConfigError(
            f"--at {at} stands for {len(found)} modules, such as {', '.join(list(found)[:3])}: "
            "maps of features are of one, give its name"
        )
    ((name, module),) = found.items()
    return FeatureLayer(name, module, item)


@dataclass
class Captured:
    """Feature maps of all calls of a module, in the graph of the outputs.

    Attributes:
        leaves: What the module returned, call by call, which gradients are taken of.
        grids: Rows and columns of those that are tokens, None of all others.
        calls: How often the module was called, such as once for every level of a pyramid.
    """

    leaves: list[Tensor] = field(default_factory=list)
    grids: list[tuple[int, int] | None] = field(default_factory=list)
    calls: int = 0

    def as_map(self, index: int, values: Tensor) -> Tensor:
        """Return a tensor of the shape of leaf ``index`` as (B, K, h, w)."""
        grid = self.grids[index]
        if values.dim() == 3:
            if grid is None:
                raise ConfigError(
                    f"--at: tokens of shape {tuple(values.shape)}, whose grid is not known; take "
                    "a module that returns (N, C, H, W)"
                )
            tokens = values[:, values.shape[1] - grid[0] * grid[1] :]  # behind a class token
            return tokens.transpose(1, 2).unflatten(2, grid)
        return values


@contextmanager
def captured(layer: FeatureLayer, image: tuple[int, int]) -> Iterator[Captured]:
    """Keep what a module returns; it gets clones, so that nothing changes it in place.

    Args:
        layer: The module.
        image: Height and width of the network's input, which tell the grid of tokens.
    """
    kept = Captured()

    def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        kept.calls += 1

        def keep(value: Any) -> Any:
            if isinstance(value, Tensor) and value.dim() in (3, 4) and value.is_floating_point():
                if torch.is_grad_enabled() and not value.requires_grad:
                    value = value.detach().requires_grad_()
                kept.leaves.append(value)
                grid = None
                if value.dim() == 3:
                    grid = grid_of(value, args, kwargs) or token_grid(value.shape[1], image)
                kept.grids.append(grid)
                return value.clone()
            return value

        return _mapped(output, keep)

    handle = layer.module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield kept
    finally:
        handle.remove()


def _mapped(output: Any, function: Any) -> Any:
    """Apply a function to a tensor, or to the items of a list, tuple or mapping of them."""
    if isinstance(output, Tensor):
        return function(output)
    if isinstance(output, Mapping):
        return {key: function(value) for key, value in output.items()}
    if isinstance(output, Sequence) and not isinstance(output, str):
        items = [function(value) for value in output]
        if hasattr(output, "_fields"):
            return type(output)(*items)
        return items if isinstance(output, list) else tuple(items)
    return output


def token_grid(tokens: int, image: tuple[int, int]) -> tuple[int, int] | None:
    """Return rows and columns of tokens of an image, None where no stride fits.

    Up to eight tokens in front, for a class and registers, are passed over.

    >>> token_grid(197, (224, 224)), token_grid(300, (224, 224))
    ((14, 14), None)
    """
    for extra in range(9):
        for stride in (1, 2, 4, 7, 8, 14, 16, 28, 32, 64):
            grid = (-(-image[0] // stride), -(-image[1] // stride))
            if grid[0] * grid[1] == tokens - extra:
                return grid
    return None


def short_names(names: Sequence[str]) -> list[str]:
    """Return names of modules without the parts that all of them begin and end with.

    >>> short_names(["backbone.layers.1.attn", "backbone.layers.2.attn"])
    ['1', '2']
    """
    parts = [name.split(".") for name in names]
    while len(names) > 1 and all(len(part) > 1 for part in parts):
        if len({part[0] for part in parts}) == 1:
            parts = [part[1:] for part in parts]
        elif len({part[-1] for part in parts}) == 1:
            parts = [part[:-1] for part in parts]
        else:
            break
    return [".".join(part) for part in parts]


def reason_for_gradient(error: RuntimeError, layer: str) -> str:
    """Say why there is no gradient at a layer."""
    if "not have been used in the graph" in str(error) or "does not require grad" in str(error):
        return f"--at {layer}: the target does not depend on its output"
    return reason_of(error)
