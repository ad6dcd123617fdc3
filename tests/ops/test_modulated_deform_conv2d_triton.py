"""The Triton kernels of deformable convolution, in Triton's interpreter: right without a GPU."""

from __future__ import annotations

import pytest
import test_modulated_deform_conv2d as on_cpu
import torch

from mmattn.testing.op_tester import Sample


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
        picture = on_cpu.picture
        few = (2, 1)  # taps, for the interpreter takes its time over each
        return {
            "small": picture(1, 3, 4, 5, 2, few, padding=1, stride=(1, 2)),
            "empty batch": picture(0, 4, 5, 6, 3, padding=1),
            "one pixel": picture(1, 5, 1, 1, 3, few, padding=1, modulated=False, bias=False),
            "prime sizes": picture(2, 37, 5, 7, 5, few, padding=(1, 0), dilation=(2, 1)),
            "groups": picture(1, 6, 5, 3, 4, few, padding=1, groups=2, deform_groups=3, spread=4.0),
        }
