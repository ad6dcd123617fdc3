"""Depthwise convolution: torch's own convolution in float64 is the oracle."""

from __future__ import annotations

import os
import random

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmattn.ops import OPERATORS, BackendError, depthwise_conv2d, use_backend
from mmattn.testing.op_tester import OpTester, Sample

# Kernel and dilation where they are used: BEVANet's strips, LKA's 7x7 d3, RepLKNet's 31x31.
KERNELS = {
    "5x5": ((5, 5), (1, 1)),
    "1x11 d3": ((1, 11), (1, 3)),
    "11x1 d3": ((11, 1), (3, 1)),
    "7x7 d3": ((7, 7), (3, 3)),
    "31x31": ((31, 31), (1, 1)),
    "1x21": ((1, 21), (1, 1)),
    "even 2x4": ((2, 4), (2, 1)),
}


def image(n: int, c: int, h: int, w: int, kernel, *, bias: bool = True, **kwargs) -> Sample:
    """A call with random numbers; the kernel is scaled so that results are of order one."""
    generator = torch.Generator().manual_seed(h * 31 + w)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    weight = draw(c, 1, *kernel) / (kernel[0] * kernel[1]) ** 0.5
    return Sample((draw(n, c, h, w), weight, draw(c) if bias else None), kwargs)


class TestDepthwiseConv2d(OpTester):
    op = "depthwise_conv2d"
    function = staticmethod(depthwise_conv2d)

    @staticmethod
    def samples() -> dict[str, Sample]:
        samples = {
            name: image(1, 19, 13, 22, kernel, padding="same", dilation=dilation)
            for name, (kernel, dilation) in KERNELS.items()
        }
        return samples | {
            "small": image(2, 3, 5, 6, (3, 3), padding=2, dilation=2),
            "empty batch": image(0, 3, 5, 6, (7, 7), padding="same"),
            "one pixel": image(2, 5, 1, 1, (7, 7), padding="same", dilation=3),
            "prime sizes": image(2, 17, 11, 53, (7, 5), padding=(9, 4), dilation=(3, 2)),
            "no padding": image(1, 33, 23, 29, (7, 11), bias=False),
            "much padding": image(1, 8, 3, 4, (3, 5), padding=(11, 9)),
            "wide": image(1, 2, 3, 301, (3, 9), padding="same"),
        }

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        x, w = torch.zeros(1, 4, 8, 8), torch.zeros(4, 1, 3, 3)
        return {
            "three dimensions": (Sample((x[0], w)), ValueError),
            "a channel too few": (Sample((x, w[:3])), ValueError),
            "a full convolution": (Sample((x, torch.zeros(4, 4, 3, 3))), ValueError),
            "no kernel": (Sample((x, torch.zeros(4, 1, 0, 3))), ValueError),
            "a bias too long": (Sample((x, w, torch.zeros(5))), ValueError),
            "whole numbers": (Sample((x.long(), w)), TypeError),
            "two dtypes": (Sample((x, w.double())), TypeError),
            "two devices": (Sample((x, w.to("meta"))), ValueError),
            "negative padding": (Sample((x, w), {"padding": -1}), ValueError),
            "no dilation": (Sample((x, w), {"dilation": 0}), ValueError),
            "three strides": (Sample((x, w), {"stride": (1, 1, 1)}), ValueError),
            "a fraction": (Sample((x, w), {"padding": 1.5}), ValueError),
            "unknown padding": (Sample((x, w), {"padding": "reflect"}), ValueError),
            "same with stride": (Sample((x, w), {"padding": "same", "stride": 2}), ValueError),
            "kernel beyond image": (Sample((x, w), {"dilation": 9}), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        size = lambda most: rng.choice([0, 1, 2, 3, 5, most])  # noqa: E731
        c = rng.choice([1, 2, 3, 16, 19])
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        x = torch.randn(size(2), c, size(9), size(17), dtype=dtype)
        weight_channels = c if rng.random() < 0.9 else c + 1
        weight = torch.randn(weight_channels, 1, size(7), size(7), dtype=dtype)
        if rng.random() < 0.05:
            weight = weight.to(torch.float16)
        bias = torch.randn(c, dtype=dtype) if rng.random() < 0.5 else None
        options = {
            "padding": rng.choice([0, 1, "same", "valid", (3, 1), (-1, 2), 11]),
            "dilation": rng.choice([1, 2, (3, 1), 0]),
            "stride": rng.choice([1, 1, 1, 2]),
        }
        requires = rng.random() < 0.5
        return Sample((x.requires_grad_(requires), weight, bias), options)

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        n, c, h, w = (rng.choice([0, 1, 2, 3, 17]) for _ in range(4))
        kernel = [rng.choice([1, 2, 3, 7]) for _ in range(2)]
        padding = [rng.choice([0, 1, 3, 9]) for _ in range(2)]
        dilation = [rng.choice([1, 2, 3]) for _ in range(2)]
        x, weight = torch.randn(n, c, h, w), torch.randn(c, 1, *kernel)
        size = [
            s + 2 * p - d * (k - 1)
            for s, p, d, k in zip((h, w), padding, dilation, kernel, strict=True)
        ]
        grad = torch.randn(n, c, *(max(s, 0) for s in size))
        bias = torch.randn(c)
        wild = rng.randrange(12)  # most calls get one thing wrong
        if wild == 0:
            weight = weight[:, 0]
        elif wild == 1:
            weight = torch.randn(c + 1, 1, *kernel)
        elif wild == 2:
            padding = [padding[0]]
        elif wild == 3:
            dilation = [0, 1]
        elif wild == 4:
            bias = bias[:-1] if c else torch.randn(1)
        elif wild == 5:
            x = x.double()
        elif wild == 6:
            grad = torch.randn(n, c, 2, 2)
        elif wild == 7:
            x = x.to(torch.int32)
        elif wild == 8:
            padding = [-3, 2]
        elif wild == 9:
            padding, dilation = [2**62, 1], [1, rng.choice([1, 2**61])]
        if rng.random() < 0.5:
            return "forward", (x, weight, bias, padding, dilation)
        return "backward", (grad, x, weight, padding, dilation, True, True, rng.random() < 0.5)


@pytest.mark.gpu
class TestDepthwiseConv2dOnGpu(TestDepthwiseConv2d):
    device = "cuda"


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.filterwarnings("ignore:Using padding")  # torch, of even kernels
def test_equals_torch(name: str) -> None:
    """Results equal torch's, with the backend that is chosen on this machine."""
    kernel, dilation = KERNELS[name]
    sample = image(2, 12, 9, 14, kernel)
    x, weight, bias = (t.float() for t in sample.args)
    for padding in ("same", (40, 41)):
        expected = F.conv2d(x, weight, bias, 1, padding, dilation, groups=12)
        actual = depthwise_conv2d(x, weight, bias, padding=padding, dilation=dilation)
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_stride_is_torchs_work() -> None:
    x, weight, bias = (t.float() for t in image(1, 6, 9, 8, (3, 3)).args)
    actual = depthwise_conv2d(x, weight, bias, stride=(2, 1), padding=1)
    expected = F.conv2d(x, weight, bias, (2, 1), 1, 1, groups=6)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("backend", ["reference", "cpp"])
def test_result_is_channels_last(backend: str) -> None:
    """An image is then converted once, not once per layer."""
    if reason := OPERATORS["depthwise_conv2d"].why_not(backend, "cpu", torch.float32):
        pytest.skip(reason)
    x, weight, bias = (t.float() for t in image(1, 6, 9, 8, (7, 7)).args)
    with use_backend(backend):
        y = depthwise_conv2d(x, weight, bias, padding="same", dilation=3)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_torch_runs_where_it_is_as_fast() -> None:
    operator = OPERATORS["depthwise_conv2d"]
    if reason := operator.why_not("cpp", "cpu", torch.float32):
        pytest.skip(reason)

    def choose(kernel: tuple, dilation: tuple, *, training: bool) -> str:
        return operator.choose("cpu", torch.float32, (kernel, dilation, training))

    assert choose((3, 3), (1, 1), training=True) == "reference"
    assert choose((31, 31), (1, 1), training=True) == "cpp"
    assert choose((7, 7), (1, 1), training=False) == "reference"
    assert choose((11, 1), (3, 1), training=False) == "reference"
    assert choose((1, 11), (1, 3), training=False) == "cpp"
    assert choose((31, 31), (1, 1), training=False) == "cpp"


def test_autocast_runs_in_the_lower_precision() -> None:
    x, weight, bias = (t.float() for t in image(1, 6, 9, 8, (7, 7)).args)
    with torch.autocast("cpu", torch.bfloat16):
        # As in a network: the layer before made x bfloat16, the parameters are float32.
        y = depthwise_conv2d(x.bfloat16(), weight, bias, padding="same", dilation=3)
        expected = F.conv2d(x, weight, bias, 1, "same", 3, groups=6)
    assert y.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected.float(), rtol=2e-2, atol=2e-2)


def test_flops_are_those_of_the_convolution() -> None:
    sample = image(2, 6, 9, 8, (7, 7), padding="same", dilation=3)
    once = 2 * 2 * 6 * 9 * 8 * 49  # twice the multiply-adds of 2 x 6 planes of 9 x 8
    for backend in ("reference", None):
        call = sample.to("cpu", torch.float32)
        with FlopCounterMode(display=False) as counter, use_backend(backend):
            depthwise_conv2d(*call.args, **call.kwargs)
        assert counter.get_total_flops() == once
    if (
        OPERATORS["depthwise_conv2d"].choose("cpu", torch.float32, ((7, 7), (3, 3), True))
        != "reference"
    ):
        call = sample.to("cpu", torch.float32, grad=True)
        with FlopCounterMode(display=False) as counter:
            depthwise_conv2d(*call.args, **call.kwargs).sum().backward()
        assert counter.get_total_flops() == 3 * once  # result, input and weight gradient


def test_forced_backend_that_cannot_serve_says_why() -> None:
    x, weight = torch.zeros(1, 4, 8, 8, device="meta"), torch.zeros(4, 1, 7, 7, device="meta")
    with use_backend("cpp"), pytest.raises(BackendError, match="does not serve meta"):
        depthwise_conv2d(x, weight, padding="same")


@pytest.mark.slow
def test_more_than_two_to_the_31_numbers() -> None:
    """Offsets need 64 bits: the last rows of a huge image are compared with a crop of it."""
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 11 * 2**30:
        pytest.skip("needs 11 GiB of free memory")
    shape = (1, 16, 2**14 + 8, 2**13)
    x = torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last).zero_()
    assert x.numel() > 2**31
    x[:, :, -32:] = torch.randn(1, 16, 32, 2**13).bfloat16()
    weight = torch.randn(16, 1, 5, 5).bfloat16()
    if OPERATORS["depthwise_conv2d"].why_not("cpp", "cpu", torch.bfloat16):
        pytest.skip("cpp is not built")
    with torch.no_grad(), use_backend("cpp"):
        actual = depthwise_conv2d(x, weight, padding="same")[:, :, -16:]
        expected = F.conv2d(x[:, :, -32:].float(), weight.float(), None, 1, 2, 1, 16)[:, :, -16:]
    torch.testing.assert_close(actual.float(), expected, rtol=2e-2, atol=5e-2)
