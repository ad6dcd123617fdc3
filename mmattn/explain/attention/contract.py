"""Attention of blocks that tell it themselves, by a method ``attention_maps(x)``.

A map (N, K, H, W) whose values sum to 1 over the positions holds weights: of K given positions
where the method takes ``positions``, of each of H W queries, or of K heads or agents. All other
maps are gates, which scale the input.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from .inputs import Call

#: Largest number of weights that are computed at once.
_AT_ONCE = 2**24


def tells_attention(module: Any) -> bool:
    """Return whether a module has the method."""
    return callable(getattr(module, "attention_maps", None))


def takes_positions(module: Any) -> bool:
    """Return whether the method computes the weights of given positions."""
    return "positions" in inspect.signature(module.attention_maps).parameters


def maps_of(call: Call, cell: tuple[int, int] | None = None) -> dict[str, Tensor]:
    """Return the maps of a call, each (K, H or 1, W or 1), by name.

    Args:
        call: A call with a batch of one.
        cell: Row and column whose attention is computed; None takes the block's own choice.
    """
    with torch.no_grad():
        if cell is not None and takes_positions(call.module):
            maps = call.module.attention_maps(*call.args, positions=[cell])
        else:
            maps = call.module.attention_maps(*call.args)
    return {name: values[0].double() for name, values in maps.items()}


def are_weights(values: Tensor) -> bool:
    """Return whether a map (K, h, w) holds weights of positions, which sum to 1."""
    if values.shape[1] * values.shape[2] == 1:
        return False
    sums = values.sum((1, 2))
    return bool(((sums - 1).abs() < 1e-3).all())


def weights_of(call: Call, cell: tuple[int, int]) -> dict[str, Tensor]:
    """Return the weights of one position, each (h, w), by what they are.

    Blocks that apply attention several times get a map of all passes together as well.
    """
    found = {}
    one = takes_positions(call.module)
    for name, values in maps_of(call, cell).items():
        count, height, width = values.shape
        if one and (height, width) != (1, 1):
            found[name] = values[0]
        elif are_weights(values):
            if count == height * width:
                found[name] = values[cell[0] * width + cell[1]]
            else:
                found[name if count == 1 else f"{name}, mean of {count}"] = values.mean(0)
    steps = getattr(call.module, "recurrence", 0)
    if one and steps > 1:
        found = {f"all {steps} passes": composite(call, cell, steps), **found}
    return found


def gates_of(call: Call) -> dict[str, Tensor]:
    """Return the gates of a call, each (C or 1, H or 1, W or 1), by name."""
    one = takes_positions(call.module) if tells_attention(call.module) else False
    return {
        name: values
        for name, values in maps_of(call).items()
        if not are_weights(values) and not (one and values.shape[1:] != (1, 1))
    }


@torch.no_grad()
def composite(call: Call, cell: tuple[int, int], steps: int) -> Tensor:
    """Return the weights (h, w) of one position after several passes: e C_R ... C_1.

    The last pass comes first: what the position reads in it has itself read all that the pass
    before gave. Values, the residual and its factor take no part.
    """
    x: Tensor = call.args[0]
    row = torch.zeros(x.shape[2:], dtype=torch.float64, device=x.device)
    row[cell] = 1.0
    for step in range(steps, 0, -1):
        places = (row > 0).nonzero()
        following = torch.zeros_like(row)
        for some in places.split(max(1, _AT_ONCE // row.numel())):
            maps = call.module.attention_maps(x, positions=some.tolist())
            shares = row[some[:, 0], some[:, 1]]
            following += torch.einsum("p,phw->hw", shares, maps[f"step{step}"][0].double())
        row = following
    return row
