"""The operators' frame: choice of a backend, missing kernels, the doctor."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmattn.ops import BackendError, build, depthwise_conv2d, use_backend
from mmattn.ops import _operator as frame
from mmattn.ops._backends import Backend
from mmattn.ops._derivatives import differentiate
from mmattn.ops._operator import OPERATORS, Function, Operator
from mmattn.ops.doctor import examine

NUMBERS = itertools.count()  # a name can be registered once in a process


class Scaled(Backend):
    """A backend in Python: multiplies, and remembers that it was asked."""

    def __init__(self, name: str, factor: float, *, functions=("forward", "backward"), **options):
        super().__init__(name, **options)
        self.factor, self.functions, self.calls = factor, functions, []

    def function(self, name: str):
        def run(x: Tensor, *rest) -> Tensor:
            self.calls.append(name)
            return x * self.factor

        return run if name in self.functions else None


@pytest.fixture
def make_operator() -> Iterator:
    """Make operators ``y = 2 x`` with extra backends, and remove them after the test."""
    names = []

    def make(*backends: Backend) -> Operator:
        name = f"toy_{next(NUMBERS)}"
        module = types.ModuleType(f"{name}.reference")
        module.forward = lambda x: x * 2.0
        module.backward = lambda grad: grad * 2.0
        sys.modules[f"{name}.reference"] = module
        fake = lambda x: torch.empty_like(x)  # noqa: E731
        operator = Operator(
            name,
            f"{name}.op",
            functions={
                "forward": Function("(Tensor x) -> Tensor", fake=fake),
                "backward": Function("(Tensor grad) -> Tensor", fake=fake),
            },
            backends=backends,
            case=lambda function, args: args[0].dim(),
            example=lambda device, dtype: (torch.ones(3, device=device, dtype=dtype),),
        )
        backward = getattr(torch.ops.mmattn, f"{name}_backward")
        torch.library.register_autograd(
            operator.qualified_name(),
            lambda ctx, grad: backward(grad),
            setup_context=lambda ctx, inputs, output: None,
        )
        names.append(name)
        return operator

    yield make
    for name in names:
        del OPERATORS[name], sys.modules[f"{name}.reference"]


def call(operator: Operator, x: Tensor) -> Tensor:
    return getattr(torch.ops.mmattn, operator.name)(x)


def test_first_backend_that_serves_is_chosen(make_operator) -> None:
    half = Scaled("triton", 2.0, dtypes=(torch.float16,))
    other_device = Scaled("cuda", 2.0, devices=("cuda",))
    refusing = Scaled("cpp", 2.0, refuses=lambda dim: "flat only" if dim > 1 else None)
    operator = make_operator(half, other_device, refusing)
    assert operator.choose("cpu", torch.float16, 1) == "triton"
    assert operator.choose("cpu", torch.float32, 1) == "cpp"
    assert operator.choose("cuda", torch.float32, 1) == "cuda"
    assert operator.choose("cpu", torch.float32, 2) == "reference"
    assert operator.why_not("cpp", "cpu", torch.float32, 2) == "flat only"
    call(operator, torch.ones(3))
    call(operator, torch.ones(3, 3))
    assert refusing.calls == ["forward"]


def test_yielding_is_overruled_by_force(make_operator) -> None:
    slow = Scaled("cpp", 2.0, yields=lambda dim: "torch is faster")
    operator = make_operator(slow)
    assert operator.choose("cpu", torch.float32, 1) == "reference"
    with use_backend("cpp"):
        assert operator.choose("cpu", torch.float32, 1) == "cpp"
        call(operator, torch.ones(3))
    assert slow.calls == ["forward"]


def test_missing_function_falls_to_the_next(make_operator) -> None:
    """A kernel with a forward pass alone is useful: plain torch has the gradient."""
    operator = make_operator(Scaled("cpp", 2.0, functions=("forward",)))
    x = torch.ones(3, requires_grad=True)
    call(operator, x).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_deterministic_algorithms_are_honoured(make_operator) -> None:
    atomic = Scaled("cpp", 2.0, nondeterministic=("backward",))
    operator = make_operator(atomic)
    x = torch.ones(3, requires_grad=True)
    call(operator, x).sum().backward()
    assert atomic.calls == ["forward", "backward"]
    torch.use_deterministic_algorithms(True)
    try:
        call(operator, x).sum().backward()
        with use_backend("cpp"), pytest.raises(BackendError, match="not deterministic"):
            call(operator, x).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert atomic.calls == ["forward", "backward", "forward", "forward"]


def test_forcing_leaves_operators_without_that_backend_alone(make_operator) -> None:
    operator = make_operator(Scaled("cpp", 2.0))
    with use_backend("triton"):
        assert operator.choose("cpu", torch.float32, 1) == "cpp"
    with pytest.raises(ValueError, match="unknown backend 'fast'"), use_backend("fast"):
        pass


def test_compiled_code_follows_the_choice(make_operator) -> None:
    """Forcing another backend after compilation recompiles, for the choice is guarded."""
    operator = make_operator(Scaled("cpp", 3.0))

    @torch.compile(fullgraph=True, backend="eager")
    def function(x: Tensor) -> Tensor:
        if operator.choose("cpu", x.dtype, 1) == "reference":
            return x * 2.0
        return x * 3.0

    x = torch.ones(1)
    assert function(x).item() == 3.0
    with use_backend("reference"):
        assert function(x).item() == 2.0
    assert function(x).item() == 3.0
    torch.compiler.reset()


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_differentiate_in_every_mode(mode) -> None:
    x, index = torch.tensor([0.5, 1.5]), torch.tensor([1, 0])
    with mode():
        grads = differentiate(lambda x, i: x.sin()[i], (x, index), (torch.ones(2),))
    torch.testing.assert_close(grads[0], x.cos())
    assert grads[1] is None


def report(names: list[str]) -> tuple[int, str]:
    lines: list[str] = []
    return examine(names, quick=True, log=lines.append), "\n".join(lines)


def test_doctor_passes_what_is_right(make_operator) -> None:
    operator = make_operator(Scaled("cpp", 2.0), Scaled("cuda", 2.0, devices=("cuda",)))
    status, text = report([operator.name])
    assert status == 0, text
    assert "all checks passed" in text


def test_doctor_fails_what_is_wrong(make_operator) -> None:
    operator = make_operator(Scaled("cpp", 2.001, dtypes=(torch.float32,)))
    status, text = report([operator.name])
    assert status == 1
    failed = [line for line in text.splitlines() if "FAILED" in line]
    assert len(failed) == 1
    assert "cpp" in failed[0]


def test_doctor_fits_one_screen_and_tells_all_when_asked() -> None:
    lines: list[str] = []
    assert examine(None, quick=True, log=lines.append) == 0
    rows = [row for line in lines for row in line.split("\n")]
    # Lines longer than a terminal's 100 columns take more than one row of it.
    assert sum(1 + len(row) // 100 for row in rows) <= 24, "\n".join(rows)
    for name in OPERATORS:
        assert any(row.startswith(name) and " ok" in row for row in rows), name
    (name, *_) = OPERATORS
    everything: list[str] = []
    examine([name], quick=True, verbose=True, log=everything.append)
    for part in ("why not the others", "bfloat16", "parity", "ok "):
        assert part in "\n".join(everything), part


def test_doctor_says_on_its_screen_what_is_missing(make_operator) -> None:
    broken = Scaled("cuda", 2.0)
    broken.missing = lambda: "not built (run the builder)"
    operator = make_operator(Scaled("cpp", 2.0, dtypes=(torch.float32,)), broken)
    status, text = report([operator.name])
    assert status == 0
    assert f"cuda of {operator.name}: not built (run the builder)" in text
    assert "cpp (float32), reference (" in text, "which dtype runs where"


def test_doctor_names_what_it_does_not_know() -> None:
    status, text = report(["criss_crozz"])
    assert status == 2
    assert "depthwise_conv2d" in text


# One process, for each takes seconds to import torch. It finds neither a compiler nor a library.
WITHOUT_COMPILER = """
import warnings, sys
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as seen:
    import torch, mmattn.ops
    from mmattn.ops import BackendError, depthwise_conv2d, use_backend

    def use():
        x, weight = torch.ones(1, 2, 9, 9), torch.ones(2, 1, 7, 7)
        y = depthwise_conv2d(x, weight, padding=9, dilation=3)
        return y[0, 0, 4, 4].item(), [str(w.message) for w in seen if "mmattn" in str(w.message)]

    print("imported", use.__name__, [w for w in seen if "mmattn" in str(w.message)])
    with use_backend("reference"):
        print("quiet", *use())
    try:
        with use_backend("cpp"):
            use()
    except BackendError as error:
        print("forced", error)
    use()
    print("automatic", *use())
from mmattn.ops.__main__ import main
print("build", main(["build"]))
print("doctor", main(["doctor", "depthwise_conv2d", "--quick"]))
"""


@pytest.mark.slow
def test_without_compiler(tmp_path: Path) -> None:
    """Import is quiet, torch answers, one warning says how to build, force says what is missing."""
    if build.EMBEDDED.is_dir():
        pytest.skip("this installation brings its compiled operators")
    env = os.environ | {
        "CXX": "/nonexistent/c++",
        "MMATTN_OPS_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    env.pop("MMATTN_OPS_BACKEND", None)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert said["imported"] == "use []"
    assert said["quiet"] == "9.0 []"
    assert "not built (run `python -m mmattn.ops build`)" in said["forced"]
    assert said["automatic"].startswith("9.0 [")
    assert said["automatic"].count("the fast kernel of depthwise_conv2d is missing") == 1
    assert "no compiler: install a C++ compiler (or set CXX)" in done.stdout
    assert said["build"] == "1"
    assert said["doctor"] == "0"


def test_a_misspelt_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="MMATTN_OPS_BACKEND: unknown backend 'ccp'"):
        frame._check_backend("ccp", "MMATTN_OPS_BACKEND")


def test_warning_comes_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "_warned", False)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        frame._warn_once("some_op", "not built")
        frame._warn_once("other_op", "not built")
    assert len(seen) == 1


def test_public_function_needs_no_choice_under_export() -> None:
    """An exported graph is the same with and without kernels."""

    class Net(torch.nn.Module):
        def forward(self, x: Tensor, weight: Tensor) -> Tensor:
            return depthwise_conv2d(x, weight, padding="same", dilation=3)

    program = torch.export.export(Net(), (torch.ones(1, 2, 9, 9), torch.ones(2, 1, 7, 7)))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert names == ["aten.conv2d.default"]


HEAVY = ("mmengine", "mmcv", "mmdet", "mmseg", "timm", "cv2", "torchvision")


def test_import_brings_torch_alone() -> None:
    """``mmattn.ops`` can be used without OpenMMLab, and costs no more than torch to import."""
    script = f"import sys, mmattn.ops; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
