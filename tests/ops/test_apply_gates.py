"""Gating: products of torch in float64 are the oracle."""

from __future__ import annotations

import itertools
import os
import random

import pytest
import torch
from torch import Tensor

from mmattn.ops import OPERATORS, accumulate_dtype, apply_gates, use_backend
from mmattn.testing.op_tester import OpTester, Sample

NAMES = ("channel", "row", "column", "spatial")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}


def shapes(n: int, c: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the gates."""
    sizes = ((n, c), (n, c, height), (n, c, width), (n, 1, height, width))
    return dict(zip(NAMES, sizes, strict=True))


def image(*shape: int, gates: tuple[str, ...] = NAMES, residual: bool = False) -> Sample:
    """A call with random numbers; gates of either sign."""
    generator = torch.Generator().manual_seed(shape[-1])
    draw = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64)  # noqa: E731
    given = {name: draw(*size) for name, size in shapes(*shape).items() if name in gates}
    return Sample((draw(*shape),), {**given, "residual": residual})


class TestApplyGates(OpTester):
    op = "apply_gates"
    function = staticmethod(apply_gates)

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": image(2, 3, 5, 6, residual=True),
            "empty batch": image(0, 3, 5, 6),
            "no pixels": image(2, 3, 0, 6),
            "one pixel": image(2, 5, 1, 1),
            "prime sizes": image(2, 17, 11, 53, residual=True),
            "one channel": image(3, 1, 7, 9),
            "ECA": image(2, 20, 25, 31, gates=("channel",)),
            "CBAM": image(2, 20, 25, 31, gates=("channel", "spatial")),
            "ELA": image(2, 20, 25, 31, gates=("row", "column"), residual=True),
            "many channels": image(1, 300, 20, 3),
        }

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        x = torch.zeros(1, 4, 8, 6)
        channel, row = torch.zeros(1, 4), torch.zeros(1, 4, 8)
        return {
            "three dimensions": (Sample((x[0],), {"channel": channel}), ValueError),
            "whole numbers": (Sample((x.long(),), {"channel": channel}), TypeError),
            "no gate": (Sample((x,)), ValueError),
            "only a residual": (Sample((x,), {"residual": True}), ValueError),
            "a gate too few": (Sample((x,), {"channel": channel[:, :3]}), ValueError),
            "rows for columns": (Sample((x,), {"column": row}), ValueError),
            "a spatial gate per channel": (Sample((x,), {"spatial": x}), ValueError),
            "a float64 gate": (Sample((x,), {"row": row.double()}), TypeError),
            "two devices": (Sample((x,), {"row": row.to("meta")}), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        shape = [rng.choice([0, 1, 2, 3, 17, 40]) for _ in range(4)]
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        x = torch.randn(shape, dtype=dtype)
        if rng.random() < 0.5:
            x = x.contiguous(memory_format=torch.channels_last)
        gates: dict = {}
        for name, size in shapes(*shape).items():
            if rng.random() < 0.5:
                size = size if rng.random() < 0.95 else (*size[:-1], size[-1] + 1)
                gates[name] = torch.randn(size, dtype=rng.choice([dtype, accumulate_dtype(dtype)]))
                gates[name].requires_grad_(rng.random() < 0.5)
        if gates and rng.random() < 0.1:
            gates = {name: gate.detach().half() for name, gate in gates.items()}
        return Sample(
            (x.requires_grad_(rng.random() < 0.5),), {**gates, "residual": rng.random() < 0.5}
        )

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        shape = [rng.choice([0, 1, 2, 3, 17]) for _ in range(4)]
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        x, grad = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
        gates: list[Tensor | None] = [
            torch.randn(size, dtype=accumulate_dtype(dtype)) if rng.random() < 0.5 else None
            for size in shapes(*shape).values()
        ]
        if rng.random() < 0.5:
            x = x.contiguous(memory_format=torch.channels_last)
        wild, place = rng.randrange(12), rng.randrange(4)  # some calls get one thing wrong
        gate = gates[place]
        if wild == 0 and gate is not None:
            gates[place] = gate.half()
        elif wild == 1 and gate is not None:
            gates[place] = gate[..., :-1]
        elif wild == 2 and gate is not None:
            gates[place] = gate[None]
        elif wild == 3:
            grad = grad[:1]
        elif wild == 4:
            grad = grad.half()
        elif wild == 5:
            x = x.to(torch.int32)
        elif wild == 6:
            x = x.flatten(2)
        residual = rng.random() < 0.5
        if rng.random() < 0.5:
            return "forward", (x, *gates, residual)
        return "backward", (grad, x, *gates, residual, rng.random() < 0.5, rng.random() < 0.5)


@pytest.mark.gpu
class TestApplyGatesOnGpu(TestApplyGates):
    device = "cuda"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", ["reference", "cpp"])
def test_every_choice_of_gates(backend: str, layout: str) -> None:
    """All subsets, with and without residual: results and gradients."""
    if reason := OPERATORS["apply_gates"].why_not(backend, "cpu", torch.float64):
        pytest.skip(reason)
    views = {
        "channel": (..., None, None),
        "row": (..., None),
        "column": (slice(None),) * 2 + (None,),
    }
    for count, residual in itertools.product((1, 2, 3, 4), (False, True)):
        for names in itertools.combinations(NAMES, count):
            call = image(2, 5, 18, 7, gates=names, residual=residual)
            x = call.args[0].contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
            gates = {name: call.kwargs[name].requires_grad_() for name in names}
            with use_backend(backend):
                actual = apply_gates(x, **gates, residual=residual)
                leaves = (x, *gates.values())
                grads = torch.autograd.grad(actual.square().sum(), leaves)
            expected = x
            for name, gate in gates.items():
                expected = expected * (gate[views[name]] if name in views else gate)
            expected = expected + x if residual else expected
            truth = torch.autograd.grad(expected.square().sum(), leaves)
            torch.testing.assert_close(actual, expected, msg=lambda m: f"{names}: {m}")  # noqa: B023
            torch.testing.assert_close(grads, truth, msg=lambda m: f"{names}: {m}")  # noqa: B023


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["reference", "cpp"])
def test_half_precision_is_rounded_once(backend: str, dtype: torch.dtype) -> None:
    """A float32 gate is not rounded before the product."""
    if reason := OPERATORS["apply_gates"].why_not(backend, "cpu", dtype):
        pytest.skip(reason)
    x, channel = image(2, 33, 5, 7).args[0].to(dtype), torch.rand(2, 33)
    with use_backend(backend):
        actual = apply_gates(x, channel=channel)
    assert torch.equal(actual, (x.float() * channel[:, :, None, None]).to(dtype))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_than_two_to_the_31_numbers(layout: str) -> None:
    """Offsets need 64 bits: the last rows are looked at."""
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 11 * 2**30:
        pytest.skip("needs 11 GiB of free memory")
    if reason := OPERATORS["apply_gates"].why_not("cpp", "cpu", torch.bfloat16):
        pytest.skip(reason)
    shape = (1, 2, 2**15 + 8, 2**15)
    x = torch.ones(shape, dtype=torch.bfloat16).contiguous(memory_format=LAYOUTS[layout])
    assert x.numel() > 2**31
    row, column = torch.ones(1, 2, shape[2]), torch.ones(1, 2, shape[3])
    row[0, 1, -1], column[0, 1, -1] = 2.0, 3.0
    with use_backend("cpp"):
        actual = apply_gates(x, row=row, column=column)
    assert actual[0, 1, -2:, -2:].tolist() == [[1.0, 3.0], [2.0, 6.0]]
    assert actual[0, 0, -1].unique().tolist() == [1.0]
