"""The Triton kernels of deformable convolution, in Triton's interpreter: right without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from mmattn.testing.op_tester import Sample
from tests.ops import test_modulated_deform_conv2d as on_cpu

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are interpreted when they are imported under this variable."""
    pytest.importorskip("triton")
    if torch.cuda.is_available():
        pytest.skip("this machine compiles the kernels: run with -m gpu")
    monkeypatch.setenv("TRITON_INTERPRET", "1")


class TestInterpretedTriton(on_cpu.TestModulatedDeformConv2d):
    backends = ("triton",)
    dtypes = (torch.float32, torch.bfloat16)
    exports = False  # no matter of the backend
    random_calls = 5
    repeats = 3

    def op_arguments(self) -> tuple:
        args = self.samples()["small"].to("cpu", torch.float32).args
        return (*args, [1, 2], [1, 1], [1, 1], 1, 1, False)

    def test_two_python_threads(self) -> None:
        pytest.skip("Triton's interpreter runs one kernel at a time")

    # What takes long in the interpreter and hardly depends on the backend.
    @pytest.mark.slow
    def test_compiles_to_one_graph(self, backend: str) -> None:
        super().test_compiles_to_one_graph(backend)

    @pytest.mark.slow
    def test_number_of_threads_does_not_matter(self, backend: str) -> None:
        super().test_number_of_threads_does_not_matter(backend)

    @pytest.mark.slow
    def test_random_calls_never_crash(self, backend: str) -> None:
        super().test_random_calls_never_crash(backend)

    @pytest.mark.parametrize(
        "layout",
        [
            "channels-last",
            *(pytest.param(n, marks=pytest.mark.slow) for n in ("sliced", "expanded")),
        ],
    )
    def test_any_layout_gives_the_same(self, backend: str, layout: str) -> None:
        super().test_any_layout_gives_the_same(backend, layout)

    @staticmethod
    def samples() -> dict[str, Sample]:
        image = on_cpu.image
        few = (2, 1)  # taps, for the interpreter takes its time over each
        return {
            "small": image(1, 3, 4, 5, 2, few, padding=1, stride=(1, 2)),
            "empty batch": image(0, 4, 5, 6, 3, padding=1),
            "one pixel": image(1, 5, 1, 1, 3, few, padding=1, modulated=False, bias=False),
            "prime sizes": image(2, 37, 5, 7, 5, few, padding=(1, 0), dilation=(2, 1)),
            "groups": image(1, 6, 5, 3, 4, few, padding=1, groups=2, deform_groups=3, spread=4.0),
        }


_COMPILE = """
import importlib, sys
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import mmattn.ops

kernels = importlib.import_module("mmattn.ops.modulated_deform_conv2d.triton_kernels")
images, points = ("x", "grad", "weight", "bias", "y"), ("offset", "mask", "grad_x", "partial")
for kernel, extra in (
    (kernels._convolve, {"BIAS": True, "OUT": 128}),
    (kernels._differentiate_reading, {"NEED_X": True, "NEED_OFFSET": True, "OUT": 32}),
    (kernels._differentiate_weight, {"OUT": 128}),
):
    constants = {
        "TAPS": 9, "KW": 3, "MODULATED": True, "PIXELS": 64, "DEPTH": 32, "PRODUCT": tl.bfloat16
    } | extra
    signature = {
        name: "constexpr" if name in constants
        else "*bf16" if name in images
        else "*fp32" if name in points or name.startswith("grad_")
        else "i32"
        for name in kernel.arg_names
    }
    source = ASTSource(kernel, signature, constexprs=constants)
    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    triton.compile(source, target=target, options={"num_warps": 8})
    print(kernel.__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["80", "90"])
def test_kernels_compile_without_a_gpu(capability: str) -> None:
    """To machine code of an A100 and an H100."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE, capability], env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.split()) == 3
