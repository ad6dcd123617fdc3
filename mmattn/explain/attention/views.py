"""Maps of the attention of one place, or of one query, of every layer that has any."""

from __future__ import annotations

import torch
from torch import nn

from mmattn.errors import ConfigError

from ..explanation import Explanation
from ..layers import find_modules
from ..networks import Network, Sample, evaluation
from ..targets import Target
from .contract import tells_attention, weights_of
from .inputs import Call, recorded_calls


def attention_views(
    network: Network, sample: Sample, target: Target, at: str = "auto"
) -> list[Explanation]:
    """Show the attention of the place of a target, or of its query.

    Args:
        network: Network.
        sample: Image.
        target: Whose attention it is.
        at: Name or pattern of modules; ``auto`` takes the last layer that has attention.

    Raises:
        ConfigError: No module has attention, or none that ``at`` names.
    """
    modules = attention_modules(network.model, at)
    with evaluation(network.model), torch.no_grad(), recorded_calls(modules) as calls:
        network(sample.inputs, sample, queries=target.kind == "query")
    if not calls:
        raise ConfigError(f"--at {at}: none of these modules is called when an image is")
    found: list[Explanation] = []
    for call in reversed(calls):
        shown = _of_block(call, sample, target)
        found = [*shown, *found]
        if found and at == "auto":
            break
    if not found:
        raise ConfigError(
            f"--at {at}: {type(calls[-1].module).__name__} has gates and no attention to "
            "positions; take --method gates"
        )
    return found


def attention_modules(model: nn.Module, at: str) -> dict[str, nn.Module]:
    """Return the modules with attention among those that ``at`` names, in order of their names.

    Raises:
        ConfigError: There are none.
    """
    candidates = dict(model.named_modules()) if at == "auto" else _and_inside(model, at)
    found = {name: module for name, module in candidates.items() if name and _has_any(module)}
    if not found:
        raise ConfigError(
            f"--at {at}: no attention is known there; a block tells its own by a method "
            "attention_maps(x). Gradient maps, such as --method hires-cam, work for every network"
        )
    return found


def _and_inside(model: nn.Module, at: str) -> dict[str, nn.Module]:
    """Return the named modules, or where they have no attention themselves, those inside."""
    named = find_modules(model, at)
    if any(_has_any(module) for module in named.values()):
        return named
    return {
        f"{name}.{inner}" if inner else name: module
        for name, outer in named.items()
        for inner, module in outer.named_modules()
    }


def _has_any(module: nn.Module) -> bool:
    return tells_attention(module)


def _of_block(call: Call, sample: Sample, target: Target) -> list[Explanation]:
    """Return the maps of a block that tells its attention itself."""
    x = call.args[0]
    grid = (x.shape[2], x.shape[3])
    cell = sample.placement.cell(*target.point, grid)
    return [
        Explanation("attention", name, call.name, values.cpu().numpy(), position=cell)
        for name, values in weights_of(call, cell).items()
    ]
