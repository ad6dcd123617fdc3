"""Depthwise convolution against torch's own, in the default layout and in channels-last."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.ops import depthwise_conv2d, use_backend
from ops_cases import Contender, Row, forward, forward_backward

SIZE = (2, 64, 64, 128)
# Kernel, dilation, goals against torch channels-last and torch in its default layout.
GOALS = {
    "7x7 d3": ((7, 7), 3, 7.0, 12.0),
    "1x11 d3": ((1, 11), 3, 7.0, 12.0),
    "31x31": ((31, 31), 1, 7.0, 12.0),
}
OTHERS = {
    "5x5": ((5, 5), 1),
    "7x7": ((7, 7), 1),
    "11x1 d3": ((11, 1), 3),
    "1x7 d3": ((1, 7), 3),
}
# Kernels on both sides of the border where torch is left to itself.
CHOICES = {
    "3x3": ((3, 3), 1), "3x3 d2": ((3, 3), 2), "3x3 d8": ((3, 3), 8), "1x5": ((1, 5), 1),
    "5x5": ((5, 5), 1), "5x5 d2": ((5, 5), 2), "5x5 d3": ((5, 5), 3), "5x5 d4": ((5, 5), 4),
    "7x7": ((7, 7), 1), "7x7 d2": ((7, 7), 2), "7x7 d3": ((7, 7), 3), "1x11": ((1, 11), 1),
    "11x1": ((11, 1), 1), "1x11 d3": ((1, 11), 3), "11x1 d3": ((11, 1), 3), "1x21": ((1, 21), 1),
    "11x11": ((11, 11), 1), "15x15": ((15, 15), 1), "31x31": ((31, 31), 1),
}  # fmt: skip


def rows(device: str) -> list[Row]:
    """Training rows with goals, then inference, then the choice between torch and our kernel."""
    result = []
    for name, (kernel, dilation, last, first) in GOALS.items():
        goals = {"torch channels-last": last, "torch NCHW": first}
        result.append(_row(name, kernel, dilation, True, device, goals))
    for name, (kernel, dilation) in OTHERS.items():
        result.append(_row(name, kernel, dilation, True, device, {}))
    for name, (kernel, dilation, *_) in (GOALS | OTHERS).items():
        result.append(_row(name, kernel, dilation, False, device, {}))
    for name, (kernel, dilation) in CHOICES.items():
        for training in (True, False):
            result.append(_choice(name, kernel, dilation, training, device))
    return result


def _inputs(kernel, dilation: int, device: str):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SIZE, generator=generator).to(device)
    weight = (torch.randn(SIZE[1], 1, *kernel, generator=generator) / 7).to(device)
    grad = torch.randn(SIZE, generator=generator).to(device)
    dilations = tuple(dilation if k > 1 else 1 for k in kernel)
    padding = tuple(d * (k - 1) // 2 for d, k in zip(dilations, kernel, strict=True))
    return x, weight, grad, padding, dilations


def _torch(padding, dilation, x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, None, 1, padding, dilation, x.shape[1])


def _ours(padding, dilation, backend: str | None, x: Tensor, weight: Tensor) -> Tensor:
    if backend is None:
        return depthwise_conv2d(x, weight, padding=padding, dilation=dilation)
    with use_backend(backend):
        return depthwise_conv2d(x, weight, padding=padding, dilation=dilation)


def _contender(function, x: Tensor, weight: Tensor, grad: Tensor, training: bool) -> Contender:
    if training:
        return forward_backward(function, (x, weight), grad)
    return forward(function, x, weight)


def _title(name: str, training: bool) -> str:
    return f"{name}, {' x '.join(map(str, SIZE))}, forward{' + backward' if training else ''}"


def _row(name, kernel, dilation, training: bool, device: str, goals) -> Row:
    def setup() -> dict[str, Contender]:
        x, weight, grad, padding, dilations = _inputs(kernel, dilation, device)
        last = [t.contiguous(memory_format=torch.channels_last) for t in (x, grad)]
        ours, theirs = partial(_ours, padding, dilations, None), partial(_torch, padding, dilations)
        return {
            "mmattn": _contender(ours, last[0], weight, last[1], training),
            "torch channels-last": _contender(theirs, last[0], weight, last[1], training),
            "torch NCHW": _contender(theirs, x, weight, grad, training),
        }

    return Row("depthwise_conv2d", _title(name, training), setup, goals)


def _choice(name, kernel, dilation, training: bool, device: str) -> Row:
    backend = "cpp" if device == "cpu" else "triton"

    def setup() -> dict[str, Contender]:
        x, weight, grad, padding, dilations = _inputs(kernel, dilation, device)
        x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
        ours = partial(_ours, padding, dilations, backend)
        theirs = partial(_torch, padding, dilations)
        return {
            "mmattn": _contender(ours, x, weight, grad, training),
            "torch channels-last": _contender(theirs, x, weight, grad, training),
        }

    return Row("depthwise_conv2d_choice", _title(name, training), setup)
