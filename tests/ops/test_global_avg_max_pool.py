"""Global mean and maximum: torch's reductions in float64 are the oracle."""

from __future__ import annotations

import os
import random

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.ops import OPERATORS, accumulate_dtype, global_avg_max_pool, use_backend
from mmattn.testing.op_tester import OpTester, Sample

BACKENDS = ["reference", "cpp"]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def image(*shape: int) -> Sample:
    """A call with random numbers."""
    generator = torch.Generator().manual_seed(shape[-1])
    return Sample((torch.randn(*shape, generator=generator, dtype=torch.float64),))


def both(x: Tensor) -> Tensor:
    """Mean and maximum as one tensor, so that the gradients of both are tested."""
    return torch.stack(global_avg_max_pool(x))


def need(backend: str) -> None:
    """Skip where the backend is not built."""
    if reason := OPERATORS["global_avg_max_pool"].why_not(backend, "cpu", torch.float32):
        pytest.skip(reason)


class TestGlobalAvgMaxPool(OpTester):
    op = "global_avg_max_pool"
    function = staticmethod(both)
    result_dtype = staticmethod(accumulate_dtype)

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": image(2, 3, 5, 6),
            "empty batch": image(0, 3, 5, 6),
            "no channels": image(2, 0, 5, 6),
            "one pixel": image(2, 5, 1, 1),
            "prime sizes": image(2, 17, 11, 53),
            "one channel": image(3, 1, 7, 9),
            "several chunks": image(1, 2, 37, 61),
            "many channels": image(1, 300, 3, 5),
        }

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        return {
            "three dimensions": (Sample((torch.zeros(4, 8, 8),)), ValueError),
            "whole numbers": (Sample((torch.zeros(1, 4, 8, 8, dtype=torch.long),)), TypeError),
            "no rows": (Sample((torch.zeros(1, 4, 0, 8),)), ValueError),
            "no columns": (Sample((torch.zeros(1, 4, 8, 0),)), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        shape = [rng.choice([0, 1, 2, 3, 17, 40]) for _ in range(4 if rng.random() < 0.9 else 3)]
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        x = torch.randn(shape, dtype=dtype)
        if len(shape) == 4 and rng.random() < 0.5:
            x = x.contiguous(memory_format=torch.channels_last)
        return Sample((x.requires_grad_(rng.random() < 0.5),))

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        size = [rng.choice([0, 1, 2, 3, 17]) for _ in range(4)]
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        n, c, height, width = size
        grad = torch.randn(n, c, dtype=accumulate_dtype(dtype))
        index = torch.zeros(n, c, dtype=torch.int64)
        wild = rng.randrange(10)  # some calls get one thing wrong
        if wild == 0:
            index = index + height * width
        elif wild == 1:
            index = index - 1
        elif wild == 2:
            grad = grad.half()
        elif wild == 3:
            size = [2**31, 2**31, 2**31, 1]
        elif wild == 4:
            size = size[:3]
        elif wild == 5:
            index = index.int()
        elif wild == 6:
            grad = grad[:, :-1]
        elif wild == 7:
            dtype = torch.int32
        if rng.random() < 0.5:
            return "forward", (torch.zeros(size[:4], dtype=dtype) if wild != 3 else grad,)
        return "backward", (grad, grad, index, size, dtype, rng.random() < 0.5)


@pytest.mark.gpu
class TestGlobalAvgMaxPoolOnGpu(TestGlobalAvgMaxPool):
    device = "cuda"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_first_maximum_gets_the_gradient(backend: str, layout: str) -> None:
    """As in ``max_pool2d``: after a ReLU whole channels are zero, and one pixel of each counts."""
    need(backend)
    generator = torch.Generator().manual_seed(0)
    for height, width in ((5, 7), (40, 33)):
        x = torch.randn(2, 20, height, width, generator=generator)
        x[:, :4] = -1.0  # nothing but zeros
        x = x.mul(2).round().relu().contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
        with use_backend(backend):
            actual = torch.autograd.grad(global_avg_max_pool(x)[1].square().sum() + x.sum(), x)[0]
        pooled = F.max_pool2d(x.contiguous(), (height, width))
        expected = torch.autograd.grad(pooled.square().sum() + x.sum(), x)[0]
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_not_finite_numbers(backend: str, layout: str) -> None:
    """NaN wins over all, the first of them gets the gradient; infinities are numbers."""
    need(backend)
    inf, nan = float("inf"), float("nan")
    x = torch.randn(1, 6, 30, 23, generator=torch.Generator().manual_seed(0))
    x[0, 0] = -inf
    x[0, 1, 3, 4] = inf
    x[0, 2, 3, 4] = x[0, 2, 29, 1] = nan
    x[0, 3, 2, 2], x[0, 3, 9, 9] = inf, -inf  # their sum is NaN, their maximum is not
    x[0, 4, 1, 1], x[0, 4, 17, 3] = inf, nan
    x[0, 5] = nan
    x = x.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    with use_backend(backend):
        mean, maximum = global_avg_max_pool(x)
        grad = torch.autograd.grad(maximum, x, torch.ones_like(maximum))[0]
    flat = x.detach().flatten(2)
    torch.testing.assert_close(mean, flat.mean(2), equal_nan=True)
    torch.testing.assert_close(maximum, flat.amax(2), rtol=0, atol=0, equal_nan=True)
    first = [0, 3 * 23 + 4, 3 * 23 + 4, 2 * 23 + 2, 17 * 23 + 3, 0]
    assert grad.flatten(2).argmax(2).tolist() == [first]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_large_means_are_exact(layout: str) -> None:
    """Sums of a million numbers with an offset lose nothing that float32 can hold."""
    need("cpp")
    x = 100 + torch.randn(1, 2, 1024, 1024, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=LAYOUTS[layout])
    with use_backend("cpp"):
        mean, _ = global_avg_max_pool(x)
    torch.testing.assert_close(mean, x.double().mean((2, 3)).float(), rtol=2e-7, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_than_two_to_the_31_numbers(layout: str) -> None:
    """Offsets and positions need 64 bits."""
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 11 * 2**30:
        pytest.skip("needs 11 GiB of free memory")
    need("cpp")
    shape = (1, 1 if layout == "contiguous" else 2, 2**16 + 8, 2**15)
    x = torch.zeros(shape, dtype=torch.bfloat16).contiguous(memory_format=LAYOUTS[layout])
    assert x.numel() > 2**31
    x[..., -1, -2] = 2.0
    with use_backend("cpp"):
        mean, maximum, index = torch.ops.mmattn.global_avg_max_pool(x)
    assert maximum.unique().tolist() == [2.0]
    assert index.unique().tolist() == [shape[2] * shape[3] - 2]
    torch.testing.assert_close(mean, torch.full_like(mean, 2 / (shape[2] * shape[3])))
