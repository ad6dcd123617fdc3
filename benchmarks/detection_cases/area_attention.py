"""Area attention on 40 x 40 positions, four areas, against the explicit softmax.

"explicit" is what the paper writes: the weights of each area in memory, then their product with the
values. Sizes are those of YOLOv12-n, -s, -m and -x at stride 16 of 640 x 640, channels last.
"""

from __future__ import annotations

import torch
from ops_cases import Contender, Row
from torch import Tensor

from mmattn.projects.yolov12.area_attention import area_attention

AREAS, CHANNELS, SIDE = 4, 32, 40


def rows(device: str) -> list[Row]:
    """Return inference at batch 1 of four widths, and a training step of the narrowest."""
    cases = [
        ("n", 1, 2, False), ("s", 1, 4, False), ("m", 1, 8, False), ("x", 1, 12, False),
        ("n", 8, 2, True),
    ]  # fmt: skip
    return [
        Row(
            "area attention",
            f"{scale}: batch {batch}, {heads} heads of {CHANNELS}, {SIDE} x {SIDE}"
            + (", forward and backward" if trains else ""),
            lambda batch=batch, heads=heads, trains=trains: contenders(
                device, batch, heads, trains
            ),
            goals={} if trains else {"explicit": 3.0},
        )
        for scale, batch, heads, trains in cases
    ]


def contenders(device: str, batch: int, heads: int, trains: bool) -> dict[str, Contender]:
    """Return both forms on one product that holds q, k and v, as a fused network makes it."""
    random = torch.Generator().manual_seed(0)
    shape = (batch, SIDE * SIDE, 3, heads, CHANNELS)
    qkv = torch.randn(shape, generator=random).to(device).requires_grad_(trains)

    def contender(function) -> Contender:
        def run() -> list[Tensor]:
            with torch.set_grad_enabled(trains):
                out = function(*qkv.unbind(2), AREAS)
                return [out, *torch.autograd.grad(out.sum(), qkv)] if trains else [out]

        return run

    return {"mmattn": contender(area_attention), "explicit": contender(explicit)}


def explicit(q: Tensor, k: Tensor, v: Tensor, areas: int) -> Tensor:
    """Attend within areas with softmax(q k^T / sqrt(d)) v, (N, positions, heads, d)."""
    n, positions, heads, channels = q.shape
    q, k, v = (
        x.reshape(n * areas, positions // areas, heads, channels).transpose(1, 2) for x in (q, k, v)
    )
    weights = (q @ k.transpose(-2, -1) * channels**-0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).reshape(n, positions, heads, channels)
