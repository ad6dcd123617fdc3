"""The Triton kernels of depthwise convolution, in Triton's interpreter: right without a GPU."""

from __future__ import annotations

import random

import pytest
import torch

from mmattn.testing.op_tester import Sample
from tests.ops import test_depthwise_conv2d as on_cpu
from tests.support.interpreted_op import SlowWhereInterpreted


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are interpreted when they are imported under this variable."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("this machine compiles the kernels: run with -m gpu")
    monkeypatch.setenv("TRITON_INTERPRET", "1")


class TestInterpretedTriton(SlowWhereInterpreted, on_cpu.TestDepthwiseConv2d):
    backends = ("triton",)
    exports = False  # no matter of the backend
    random_calls = 10
    repeats = 3

    def op_arguments(self) -> tuple:
        args = self.samples()["small"].to("cpu", torch.float32).args
        return (*args, [2, 2], [2, 2])

    def test_two_python_threads(self) -> None:
        pytest.skip("Triton's interpreter runs one kernel at a time")

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": on_cpu.image(1, 2, 4, 5, (3, 2), padding=2, dilation=2),
            "empty batch": on_cpu.image(0, 3, 5, 6, (7, 7), padding="same"),
            "one pixel": on_cpu.image(1, 5, 1, 1, (3, 3), padding="same", dilation=3),
            "prime sizes": on_cpu.image(2, 37, 1, 41, (2, 3), padding=(3, 4), dilation=(5, 2)),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        while True:
            call = on_cpu.TestDepthwiseConv2d.random_call(rng)
            if max(call.args[1].shape[2:]) <= 11:
                return call
