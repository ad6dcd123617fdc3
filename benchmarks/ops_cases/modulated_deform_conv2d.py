"""Modulated deformable convolution, 256 channels, 50 x 84: a middle level of DyHead.

Contenders: the algorithm of mmcv's kernels (for each image, columns are filled with zeros, read
corner by corner in channel-major order, and multiplied), torchvision's compiled operator, which has
the same algorithm, and a dense 3x3 convolution, which has the same products but no sampling points.
mmcv's own kernel reads with scalar loops in one thread; the replica reads with torch's operators.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.ops import modulated_deform_conv2d
from ops_cases import Contender, Row, forward, forward_backward

BATCH, CHANNELS, SIZE = 1, 256, (50, 84)
DENSE = "dense 3x3"


def rows(device: str) -> list[Row]:
    """Both layouts, forward and training; on a GPU also bfloat16 under autocast."""
    result = [
        _row(training, layout, device, autocast=False)
        for layout in (torch.contiguous_format, torch.channels_last)
        for training in (False, True)
    ]
    if device == "cuda":
        result += [_row(t, torch.channels_last, device, autocast=True) for t in (False, True)]
    return result


def mmcv_algorithm(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """mmcv's algorithm for a 3x3 kernel, stride 1 and padding 1: (N, O, H, W)."""
    batch, channels, height, width = x.shape
    rows = torch.arange(height, device=x.device)[:, None] - 1 + torch.arange(3, device=x.device)
    columns = torch.arange(width, device=x.device)[:, None] - 1 + torch.arange(3, device=x.device)
    taps = (3, 3, height, width)
    y0 = rows.T[:, None, :, None].expand(taps).reshape(9, height, width)
    x0 = columns.T[None, :, None, :].expand(taps).reshape(9, height, width)
    results = []
    for n in range(batch):
        points = offset[n].view(9, 2, height, width)
        y, x_ = (y0 + points[:, 0]).flatten(), (x0 + points[:, 1]).flatten()
        top, left = y.detach().floor(), x_.detach().floor()
        down, right = y - top, x_ - left
        planes, modulation = x[n].flatten(1), mask[n].flatten()
        read = x.new_zeros(channels, y.numel())
        for row, column, part in (
            (top, left, (1 - down) * (1 - right)),
            (top, left + 1, (1 - down) * right),
            (top + 1, left, down * (1 - right)),
            (top + 1, left + 1, down * right),
        ):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            read.addcmul_(planes.index_select(1, place.long()), part * inside * modulation)
        product = torch.addmm(bias[:, None], weight.flatten(1), read.view(9 * channels, -1))
        results.append(product)
    return torch.stack(results).view(batch, -1, height, width)


def _ours(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return modulated_deform_conv2d(x, offset, mask, weight, bias, 1, 1)


def _torchvision(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    import torchvision

    return torchvision.ops.deform_conv2d(x, offset, weight, bias, 1, 1, 1, mask)


def _dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x, weight, bias, 1, 1)


def _row(training: bool, layout: torch.memory_format, device: str, *, autocast: bool) -> Row:
    def setup() -> dict[str, Contender]:
        generator = torch.Generator().manual_seed(0)
        draw = lambda *shape: torch.randn(*shape, generator=generator).to(device)  # noqa: E731
        x = draw(BATCH, CHANNELS, *SIZE).contiguous(memory_format=layout)
        offset, mask = draw(BATCH, 18, *SIZE), draw(BATCH, 9, *SIZE).sigmoid()
        weight = (draw(CHANNELS, CHANNELS, 3, 3) / 48).contiguous(memory_format=layout)
        bias = draw(CHANNELS)
        grad = draw(BATCH, CHANNELS, *SIZE).contiguous(memory_format=layout)

        def contender(function, *inputs: Tensor) -> Contender:
            if autocast:
                function = torch.autocast(device, torch.bfloat16)(function)
            if training:
                return forward_backward(function, inputs, grad)
            return forward(function, *inputs)

        inputs = (x, offset, mask, weight, bias)
        return {
            "mmattn": contender(_ours, *inputs),
            "mmcv's algorithm": contender(mmcv_algorithm, *inputs),
            "torchvision": contender(_torchvision, *inputs),
            DENSE: contender(_dense, x, weight, bias),
        }

    name = f"{CHANNELS} channels, {SIZE[0]}x{SIZE[1]}, forward{' + backward' if training else ''}"
    name += ", channels-last" if layout == torch.channels_last else ""
    name += ", bfloat16 autocast" if autocast else ""
    if autocast:
        goals, at_most = {"torchvision": 4.0}, {}
    else:
        goals, at_most = {"mmcv's algorithm": 3.0}, {DENSE: 1.3}
    return Row(
        "modulated_deform_conv2d", name, setup, goals, at_most,
        tolerance=3e-2 if autocast else 1e-4, comparable=lambda contender: contender != DENSE,
    )  # fmt: skip
