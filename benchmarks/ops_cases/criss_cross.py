"""Criss-cross attention against mmcv's formula: four einsums, one concatenation, one softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops import criss_cross_attention, use_backend
from ops_cases import Contender, Row, forward, forward_backward

CHANNELS, DEPTH = 512, 64  # channels in CCNet's head: of the value, of query and key
SIZES = (64, 97)  # images of 512 x 512 and 769 x 769, at stride 8
LAYOUTS = {"NCHW": torch.contiguous_format, "channels-last": torch.channels_last}
THEIRS = "mmcv's formula"


def rows(device: str) -> list[Row]:
    """Training, then inference; each with what is chosen here, and on the CPU with plain torch."""
    result = []
    for training in (True, False):
        for size in SIZES:
            for layout in LAYOUTS:
                if device == "cpu":
                    goals = ({THEIRS: 3.0}, {THEIRS: 1.7}) if training else ({}, {})
                    result.append(_row(size, layout, training, device, None, goals[0]))
                    result.append(_row(size, layout, training, device, "reference", goals[1]))
                else:
                    goal = {} if training else {THEIRS: 5.0}
                    result.append(_row(size, layout, training, device, None, goal))
    return result


def mmcv_formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute as mmcv's CrissCrossAttention does between its 1x1 convolutions."""
    height = query.shape[2]
    itself = torch.full((height,), -torch.inf, dtype=query.dtype, device=query.device).diag()
    column = torch.einsum("bchw,bciw->bwhi", query, key) + itself
    row = torch.einsum("bchw,bchj->bhwj", query, key)
    weights = torch.cat([column.transpose(1, 2), row], dim=-1).softmax(dim=-1)
    out = torch.einsum("bciw,bhwi->bchw", value, weights[..., :height])
    return out + torch.einsum("bchj,bhwj->bchw", value, weights[..., height:])


def _row(size: int, layout: str, training: bool, device: str, backend: str | None, goals) -> Row:
    def setup() -> dict[str, Contender]:
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        generator = torch.Generator().manual_seed(0)

        def draw(channels: int) -> Tensor:
            numbers = torch.randn(1, channels, size, size, generator=generator)
            return numbers.to(device, dtype).contiguous(memory_format=LAYOUTS[layout])

        inputs = (draw(DEPTH) / DEPTH**0.5, draw(DEPTH), draw(CHANNELS))
        grad = draw(CHANNELS)

        def contender(function) -> Contender:
            if training:
                return forward_backward(function, inputs, grad)
            return forward(function, *inputs)

        def ours():
            with use_backend(backend):  # around both passes
                return run()

        run = contender(criss_cross_attention)
        return {"mmattn": ours, THEIRS: contender(mmcv_formula)}

    passes = "forward + backward" if training else "forward"
    means = ", plain torch" if backend == "reference" else ""
    name = f"C={CHANNELS}, {size} x {size}, {layout}, {passes}{means}"
    return Row("criss_cross", name, setup, goals, tolerance=1e-4 if device == "cpu" else 5e-2)
