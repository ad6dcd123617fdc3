"""Neighborhood attention against its unfolded form, and against natten where it is installed.

Sizes are those of NAT-T on 512 x 512, kernel 7, with a table of relative positions; with natten,
which has no table any more, and on maps of at most 64 x 64: without a compiler its path for CPUs
holds the weights of all pairs.
"""

from __future__ import annotations

import importlib.util
from functools import partial

import torch
from torch import Tensor

from mmattn.ops import neighborhood_attention_2d, use_backend
from ops_cases import Contender, Row, forward, forward_backward

OP = "neighborhood_attention"
KERNEL, CHANNELS = 7, 32
# Side of the map, heads, dilation.
CASES = [(128, 2, 1), (128, 2, 16), (64, 4, 1), (32, 8, 1), (16, 16, 1)]
UNFOLDED, NATTEN = "unfolded", "natten's Flex path"


def rows(device: str) -> list[Row]:
    """Each case forward, and forward with backward; then natten, forward."""
    if device != "cpu":
        return []
    result = []
    for training in (False, True):
        for side, heads, dilation in CASES:
            passes = "forward + backward" if training else "forward"
            dilated = f", dilation {dilation}" if dilation > 1 else ""
            name = f"{side} x {side}, {heads} heads{dilated}, {passes}"
            setup = partial(_against_unfolded, side, heads, dilation, training)
            result.append(Row(OP, name, setup, {UNFOLDED: 5.0}))
    if importlib.util.find_spec("natten"):
        for side, heads, _ in CASES[2:]:
            name = f"{side} x {side}, {heads} heads, without a table, forward"
            result.append(Row(OP, name, partial(_against_natten, side, heads), {NATTEN: 1.0}))
    return result


def _inputs(side: int, heads: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, side, side, 3, heads, CHANNELS, generator=generator)
    table = torch.randn(heads, 2 * KERNEL - 1, 2 * KERNEL - 1, generator=generator)
    return [*(t.permute(0, 3, 1, 2, 4) for t in maps.unbind(3)), table]


def _against_unfolded(side: int, heads: int, dilation: int, training: bool) -> dict[str, Contender]:
    inputs = _inputs(side, heads)

    def attend(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
        return neighborhood_attention_2d(q, k, v, KERNEL, dilation, table)

    run = forward_backward(attend, inputs, inputs[0]) if training else forward(attend, *inputs)

    def unfolded():
        with use_backend("reference"):  # around both passes
            return run()

    return {"mmattn": run, UNFOLDED: unfolded}


def _against_natten(side: int, heads: int) -> dict[str, Contender]:
    from natten.functional import na2d  # pyright: ignore[reportMissingImports]

    q, k, v, _ = _inputs(side, heads)
    theirs = [t.permute(0, 2, 3, 1, 4).contiguous() for t in (q, k, v)]

    def flex() -> Tensor:
        out = na2d(*theirs, kernel_size=(KERNEL, KERNEL), backend="flex-fna")
        return out.permute(0, 3, 1, 2, 4)

    ours = forward(lambda: neighborhood_attention_2d(q, k, v, KERNEL))
    return {"mmattn": ours, NATTEN: forward(flex)}
