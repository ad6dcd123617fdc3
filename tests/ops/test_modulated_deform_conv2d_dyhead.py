"""The block of DyHead (arXiv:2106.08322) on our operator, against known numbers.

The weights are written by a formula from the names of the parameters, and the expected statistics
come from an independent implementation with the same formula.
"""

from __future__ import annotations

import math
import zlib

import mmcv.ops
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.ops import OPERATORS, modulated_deform_conv2d, use_backend

CHANNELS = 32
# (mean, standard deviation, largest magnitude, values at 0, N // 3, N // 2, N - 1) by level.
OFFICIAL = {
    0: (0.061482, 0.098707, 0.60447, (0.24766, 0.06686, 0.02892, 0.05360)),
    1: (0.105886, 0.153499, 0.65302, (0.03770, 0.18281, 0.03118, 0.33916)),
    2: (0.146126, 0.213761, 0.94690, (0.04742, 0.32229, 0.13578, 0.71764)),
}
NATURAL = {
    0: (0.054812, 0.088150, 0.57321, (0.22744, 0.07535, 0.05775, 0.03219)),
    1: (0.105297, 0.154428, 0.71498, (0.03707, 0.19280, 0.03132, 0.39859)),
    2: OFFICIAL[2],
}


def parameter(name: str, *shape: int) -> Tensor:
    """A parameter's numbers: a sine with a phase from its name, scaled by its role."""
    phase = zlib.crc32(name.encode()) % 1000 / 1000 * 2 * math.pi
    steps = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    values = torch.sin(0.1 * steps * 1.618 + phase)
    if name.endswith("bias"):
        values = 0.1 * values
    elif len(shape) == 1:
        values = 1 + 0.2 * values
    else:
        values = values * math.sqrt(2 / math.prod(shape[1:]))
    return values.reshape(shape).float()


def feature(scale: float, *shape: int) -> Tensor:
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return scale * torch.sin(0.01 * steps).reshape(shape).float()


def levels() -> list[Tensor]:
    return [
        feature(1, 2, CHANNELS, 8, 10), feature(0.5, 2, CHANNELS, 4, 5),
        feature(2, 2, CHANNELS, 2, 3),
    ]  # fmt: skip


def convolve(index: int, x: Tensor, offset: Tensor, mask: Tensor, stride: int = 1) -> Tensor:
    """A deformable convolution of the block and its normalisation."""
    weight = parameter(f"DyConv.{index}.conv.weight", CHANNELS, CHANNELS, 3, 3)
    bias = parameter(f"DyConv.{index}.conv.bias", CHANNELS)
    if offset.shape[2] == (x.shape[2] - 1) // stride + 1:
        y = modulated_deform_conv2d(x, offset, mask, weight, bias, stride, 1)
    else:  # offsets of a finer level: mmcv's own operation takes the beginning of their numbers
        y = mmcv.ops.modulated_deform_conv2d(x, offset, mask, weight, bias, stride, 1, 1, 1, 1)
    scale, shift = (parameter(f"DyConv.{index}.bn.{k}", CHANNELS) for k in ("weight", "bias"))
    return F.group_norm(y, 16, scale, shift)


def hard_sigmoid(x: Tensor) -> Tensor:
    return F.relu6(x + 3) / 6


def block(features: list[Tensor], mode: str) -> list[Tensor]:
    """All levels through one block, with the official treatment of the upper level or not."""
    outputs = []
    for i, x in enumerate(features):
        planes = F.conv2d(
            x, parameter("offset.weight", 27, CHANNELS, 3, 3), parameter("offset.bias", 27), 1, 1
        )
        offset, mask = planes[:, :18], planes[:, 18:].sigmoid()
        maps = [convolve(1, x, offset, mask)]
        if i > 0:
            maps.append(convolve(2, features[i - 1], offset, mask, stride=2))
        if i + 1 < len(features):
            up = nn.UpsamplingBilinear2d(size=tuple(x.shape[2:]))
            coarse = features[i + 1]
            official = mode == "official"
            maps.append(
                up(convolve(0, coarse, offset, mask))
                if official
                else convolve(0, up(coarse), offset, mask)
            )
        weight, bias = (
            parameter("AttnConv.1.weight", 1, CHANNELS, 1, 1),
            parameter("AttnConv.1.bias", 1),
        )
        gates = [hard_sigmoid(F.relu(F.conv2d(m.mean((2, 3), True), weight, bias))) for m in maps]
        fused = torch.stack([m * g for m, g in zip(maps, gates, strict=True)]).mean(0)
        outputs.append(dynamic_relu(fused))
    return outputs


def dynamic_relu(x: Tensor) -> Tensor:
    hidden = F.linear(
        x.mean((2, 3)),
        parameter("relu.fc.0.weight", CHANNELS // 4, CHANNELS),
        parameter("relu.fc.0.bias", CHANNELS // 4),
    )
    raw = F.linear(
        F.relu(hidden),
        parameter("relu.fc.2.weight", 4 * CHANNELS, CHANNELS // 4),
        parameter("relu.fc.2.bias", 4 * CHANNELS),
    )
    a1, b1, a2, b2 = (hard_sigmoid(raw) - 0.5)[..., None, None].chunk(4, dim=1)
    return torch.maximum(x * (2 * a1 + 1) + b1, x * 2 * a2 + b2)


@pytest.mark.parametrize(("mode", "expected"), [("official", OFFICIAL), ("natural", NATURAL)])
@pytest.mark.parametrize("backend", ["reference", "cpp"])
def test_block_has_the_known_numbers(backend: str, mode: str, expected: dict) -> None:
    reason = OPERATORS["modulated_deform_conv2d"].why_not(backend, "cpu", torch.float32)
    if reason is not None:
        pytest.skip(f"{backend} {reason}")
    with use_backend(backend), torch.no_grad():
        outputs = block(levels(), mode)
    for level, (mean, std, largest, values) in expected.items():
        flat = outputs[level].double().flatten()
        places = torch.tensor([0, len(flat) // 3, len(flat) // 2, len(flat) - 1])
        close = {"rtol": 0, "atol": 2e-5}
        torch.testing.assert_close(flat.mean().item(), mean, **close)
        torch.testing.assert_close(flat.std().item(), std, **close)
        torch.testing.assert_close(flat.abs().max().item(), largest, **close)
        torch.testing.assert_close(flat[places].tolist(), list(values), **close)
