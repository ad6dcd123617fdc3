"""List the legal places for blocks in every part of a config's model, with what a block costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mmattn.errors import ConfigError, did_you_mean, reason_of
from mmattn.plugins.costs import BlockCost, block_cost
from mmattn.plugins.feature_maps import Grid
from mmattn.plugins.slots import Slot, Slots, find_slots

from .model import build_model

if TYPE_CHECKING:
    from mmengine.config import Config

_PLACE = "mmattn slots"


@dataclass
class PartSlots:
    """Places in one part of a model.

    Attributes:
        part: Name of the part, such as ``"backbone"``.
        network: Name of its class.
        found: Places, those of ``at`` with the part in front, as in ``backbone.layer3``; None
            where the part cannot be run by itself.
        costs: Cost of the block at each place, or why it cannot be built there.
        error: Why the part cannot be run by itself.
    """

    part: str
    network: str
    found: Slots | None = None
    costs: list[BlockCost | str] = field(default_factory=list)
    error: str = ""


def list_slots(
    cfg: Config,
    size: tuple[int, int] = (512, 512),
    block: Mapping[str, Any] | None = None,
    part: str | None = None,
) -> list[PartSlots]:
    """Find the places in the parts of the model of ``cfg``.

    Args:
        cfg: Whole config; no data is read and no weights are.
        size: Height and width of the image for which sizes and costs are told.
        block: Config of a block whose cost is told; None for no costs.
        part: Name of the only part to look at; None for backbone, neck and heads.

    Raises:
        ConfigError: The model cannot be built, has no backbone that takes images of that size, or
            no part of that name.
    """
    model = build_model(cfg)
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ConfigError(f"{cfg.filename}: {type(model).__name__} has no backbone to begin with.")
    parts = _parts_and_inputs(model, backbone, size, cfg.filename)
    names = [name for name, _, _ in parts]
    if part is not None and part not in names:
        raise ConfigError(
            f"{cfg.filename}: the model has no part {part!r}.{did_you_mean(part, names)} "
            f"It has {', '.join(names)}."
        )
    return [
        _part(name, network, example, size, block)
        for name, network, example in parts
        if part in (None, name)
    ]


def _parts_and_inputs(
    model: nn.Module, backbone: nn.Module, size: tuple[int, int], source: str
) -> list[tuple[str, nn.Module, Any]]:
    """Return backbone, neck and heads, each with what it takes for an image of that size."""
    image = torch.zeros(1, 3, *size)
    try:
        with torch.no_grad():
            maps = backbone(image)
            parts = [("backbone", backbone, image)]
            if isinstance(getattr(model, "neck", None), nn.Module):
                parts.append(("neck", model.neck, maps))
                maps = model.neck(maps)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"{source}: an image of {size[0]} x {size[1]} does not pass the backbone and the "
            f"neck: {reason_of(error)}"
        ) from error
    heads = [(n, m, maps) for n, m in model.named_children() if n.endswith("_head")]
    return [*parts, *heads]


def _part(
    name: str,
    network: nn.Module,
    example: Any,
    size: tuple[int, int],
    block: Mapping[str, Any] | None,
) -> PartSlots:
    part = PartSlots(name, type(network).__name__)
    try:
        part.found = find_slots(network, example, image=size)
    except Exception as error:  # whatever a head raises that needs more than feature maps
        part.error = reason_of(error)
        return part
    part.found.slots = [_below(name, slot) for slot in part.found.slots]
    if block is not None:
        known: dict[tuple[int, tuple[Grid, ...]], BlockCost | str] = {}
        for slot in part.found.slots:
            key = (slot.channels, slot.sizes)
            if key not in known:
                known[key] = _cost(block, slot)
            part.costs.append(known[key])
    return part


def _below(part: str, slot: Slot) -> Slot:
    """Return a place with its part of the model in front of the patterns of ``at``."""
    given = slot.where.get("at")
    if given is None:
        return slot
    full = f"{part}.{given}" if isinstance(given, str) else [f"{part}.{one}" for one in given]
    return replace(slot, where={**slot.where, "at": full})


def _cost(block: Mapping[str, Any], slot: Slot) -> BlockCost | str:
    """Return the cost of one block in all of its calls, or why it cannot be built."""
    try:
        costs = [block_cost(block, slot.channels, *size, place=_PLACE) for size in slot.sizes]
    except ConfigError as error:
        return str(error).removeprefix(f"{_PLACE}: ")
    flops = [cost.flops for cost in costs if cost.flops is not None]
    return BlockCost(costs[0].parameters, sum(flops) if len(flops) == len(costs) else None)
