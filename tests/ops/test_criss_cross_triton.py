"""The Triton kernels of criss-cross attention, in Triton's interpreter: right without a GPU."""

from __future__ import annotations

import importlib

import pytest
import torch

from mmattn.ops import criss_cross_attention, use_backend
from mmattn.testing.op_tester import Sample
from tests.ops import test_criss_cross as on_cpu
from tests.support.interpreted_op import SlowWhereInterpreted

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are interpreted when they are imported under this variable."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("this machine compiles the kernels: run with -m gpu")
    monkeypatch.setenv("TRITON_INTERPRET", "1")


class TestInterpretedTriton(SlowWhereInterpreted, on_cpu.TestCrissCross):
    backends = ("triton",)
    exports = False  # no matter of the backend
    random_calls = 5
    repeats = 2

    def op_arguments(self) -> tuple:
        return self.samples()["small"].to("cpu", torch.float32).args

    def test_two_python_threads(self) -> None:
        pytest.skip("Triton's interpreter runs one kernel at a time")

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": on_cpu.sample(3, 4, batch=1, depth=2),
            "empty batch": on_cpu.sample(5, 7, batch=0),
            "one pixel": on_cpu.sample(1, 1, batch=1, channels=5),
            "prime sizes": on_cpu.sample(2, 3, batch=1, depth=19, channels=33, scale=0.3),
            "no value": on_cpu.sample(2, 3, batch=1, channels=0),
        }


@pytest.mark.parametrize("size", [(2, 17), (17, 2)])
def test_lines_of_several_blocks(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in blocks, each adding to the same sums, and more channels than one block of them."""
    kernels = importlib.import_module("mmattn.ops.criss_cross.triton_kernels")
    monkeypatch.setattr(kernels, "_FLOAT32", (16, 16))
    results = []
    for backend, dtype in (("reference", torch.float64), ("triton", torch.float32)):
        call = on_cpu.sample(*size, batch=1, channels=18).to("cpu", dtype, grad=True)
        args = call.args
        with use_backend(backend):
            out, lse = criss_cross_attention(*args, return_lse=True)
            signal = torch.arange(out.numel(), dtype=dtype).reshape(out.shape).cos()
            grads = torch.autograd.grad((out * signal).sum() + lse.square().sum(), args)
        results.append([out, lse, *grads])
    for truth, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual.double(), truth, rtol=1e-4, atol=2e-5)
