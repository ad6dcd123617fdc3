"""Maximum and mean over gated channels: torch's reductions in float64 are the oracle."""

from __future__ import annotations

import random

import pytest
import torch

from mmattn.ops import OPERATORS, accumulate_dtype, gated_channel_pool, use_backend
from mmattn.testing.op_tester import OpTester, Sample

BACKENDS = ["reference", "cpp"]
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def image(*shape: int) -> Sample:
    """A call with random numbers; gates of either sign."""
    generator = torch.Generator().manual_seed(shape[-1])
    draw = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64)  # noqa: E731
    return Sample((draw(*shape), draw(*shape[:2])))


def need(backend: str) -> None:
    """Skip where the backend is not built."""
    if reason := OPERATORS["gated_channel_pool"].why_not(backend, "cpu", torch.float32):
        pytest.skip(reason)


class TestGatedChannelPool(OpTester):
    op = "gated_channel_pool"
    function = staticmethod(gated_channel_pool)
    result_dtype = staticmethod(accumulate_dtype)

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": image(2, 3, 5, 6),
            "empty batch": image(0, 3, 5, 6),
            "no pixels": image(2, 3, 0, 6),
            "one pixel": image(2, 5, 1, 1),
            "prime sizes": image(2, 17, 11, 53),
            "one channel": image(3, 1, 7, 9),
            "several blocks of pixels": image(1, 6, 37, 61),
            "many channels": image(1, 300, 3, 5),
        }

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        x, gate = torch.zeros(1, 4, 8, 8), torch.zeros(1, 4)
        return {
            "three dimensions": (Sample((x[0], gate)), ValueError),
            "whole numbers": (Sample((x.long(), gate)), TypeError),
            "no channels": (Sample((x[:, :0], gate[:, :0])), ValueError),
            "a gate too few": (Sample((x, gate[:, :3])), ValueError),
            "a gate with four dimensions": (Sample((x, gate[..., None, None])), ValueError),
            "a float64 gate": (Sample((x, gate.double())), TypeError),
            "a half-precision gate": (Sample((x, gate.half())), TypeError),
            "two devices": (Sample((x, gate.to("meta"))), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        n, c, height, width = (rng.choice([0, 1, 2, 3, 17, 40]) for _ in range(4))
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        x = torch.randn(n, c, height, width, dtype=dtype)
        if rng.random() < 0.5:
            x = x.contiguous(memory_format=torch.channels_last)
        gate = torch.randn(
            n,
            c if rng.random() < 0.9 else c + 1,
            dtype=rng.choice([dtype, accumulate_dtype(dtype)]),
        )
        if rng.random() < 0.1:
            gate = gate.half()
        return Sample((x.requires_grad_(rng.random() < 0.5), gate))

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        n, c, height, width = (rng.choice([0, 1, 2, 3, 17]) for _ in range(4))
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        x, gate = (
            torch.randn(n, c, height, width).to(dtype),
            torch.randn(n, c, dtype=accumulate_dtype(dtype)),
        )
        grad = torch.randn(n, 2, height, width, dtype=accumulate_dtype(dtype))
        index = torch.zeros(n, height, width, dtype=torch.int32)
        if rng.random() < 0.5:
            x = x.contiguous(memory_format=torch.channels_last)
        wild = rng.randrange(12)  # some calls get one thing wrong
        if wild == 0:
            index = index + c
        elif wild == 1:
            index = index - 1
        elif wild == 2:
            index = index.long()
        elif wild == 3:
            gate = gate[:, :-1]
        elif wild == 4:
            gate = gate.half()
        elif wild == 5:
            grad = grad[:, :1]
        elif wild == 6:
            x = x.to(torch.int32)
        elif wild == 7:
            x = x.flatten(2)
        if rng.random() < 0.5:
            return "forward", (x, gate)
        return "backward", (grad, x, gate, index, rng.random() < 0.5, rng.random() < 0.5)


@pytest.mark.gpu
class TestGatedChannelPoolOnGpu(TestGatedChannelPool):
    device = "cuda"


def test_maximum_comes_first() -> None:
    """The order that the authors of CBAM show to their convolution."""
    x = torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1)
    actual = gated_channel_pool(x, torch.tensor([[1.0, -2.0, 1.0]]))
    torch.testing.assert_close(actual.flatten(), torch.tensor([4.0, 8.0 / 3]))


def test_without_a_gate() -> None:
    x = image(2, 5, 4, 3).args[0]
    ones = torch.ones(2, 5, dtype=x.dtype)
    assert torch.equal(gated_channel_pool(x), gated_channel_pool(x, ones))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_first_maximum_gets_the_gradient(backend: str, layout: str) -> None:
    """As in ``torch.max``, also where all channels are zero."""
    need(backend)
    x = torch.randn(2, 70, 9, 8, generator=torch.Generator().manual_seed(0)).mul(2).round().relu()
    x[:, :, :2] = 0.0
    x = x.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    gate = torch.ones(2, 70, requires_grad=True)
    with use_backend(backend):
        actual = torch.autograd.grad(gated_channel_pool(x, gate)[:, 0].sum(), (x, gate))
    maximum = (x * gate[:, :, None, None]).max(1).values
    torch.testing.assert_close(actual, torch.autograd.grad(maximum.sum(), (x, gate)))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_not_finite_numbers(backend: str, layout: str) -> None:
    """NaN wins over all, the first of them gets the gradient; infinities are numbers."""
    need(backend)
    inf, nan = float("inf"), float("nan")
    x = torch.randn(1, 70, 1, 6, generator=torch.Generator().manual_seed(0))
    x[0, :, 0, 0] = -inf
    x[0, 40, 0, 1] = inf
    x[0, 30, 0, 2] = x[0, 69, 0, 2] = nan
    x[0, 3, 0, 3], x[0, 5, 0, 3] = inf, -inf  # their sum is NaN, their maximum is not
    x[0, 3, 0, 4], x[0, 50, 0, 4] = inf, nan
    x[0, :, 0, 5] = nan
    x = x.contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    with use_backend(backend):
        actual = gated_channel_pool(x, torch.ones(1, 70))
        grad = torch.autograd.grad(actual[:, 0].sum(), x)[0]
    expected = torch.stack([x.amax(1), x.mean(1)], 1).detach()
    torch.testing.assert_close(actual.detach(), expected, equal_nan=True)
    assert grad[0, :, 0].argmax(0).tolist() == [0, 40, 30, 3, 50, 0]
