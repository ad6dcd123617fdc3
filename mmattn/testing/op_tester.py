"""The tests that every operator passes, with every backend that the machine can run.

A test file inherits ``OpTester``, names the operator and provides samples. The inherited tests are
about parity with the reference, gradients, torch's own checks of operators, compilation, export,
memory layouts, wrong calls, determinism and threads. A missing backend is skipped with its reason.

    class TestMyOp(OpTester):
        op = "my_op"
        function = staticmethod(my_op)

        @staticmethod
        def samples() -> dict[str, Sample]: ...
"""

from __future__ import annotations

import io
import itertools
import random
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmattn.ops import OPERATORS, use_backend

TOLERANCE = {
    torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2,
}  # fmt: skip
# Exceptions that a wrong call may raise; any other exception, or a result, is a bug.
REFUSALS = (TypeError, ValueError, RuntimeError, NotImplementedError)


@dataclass
class Sample:
    """Arguments of one call. Floating tensors are float64; a test casts them to its dtype."""

    args: tuple
    kwargs: dict = field(default_factory=dict)

    def to(self, device: str, dtype: torch.dtype, *, grad: bool = False) -> Sample:
        """Return the same call with floating tensors in another dtype, as leaves of autograd."""

        def cast(value):
            if not isinstance(value, Tensor):
                return value
            if not value.is_floating_point():
                return value.to(device)
            return value.detach().to(device, dtype).requires_grad_(grad)

        return Sample(
            tuple(map(cast, self.args)), {key: cast(value) for key, value in self.kwargs.items()}
        )

    def leaves(self) -> list[Tensor]:
        """Return the tensors that require a gradient."""
        values = (*self.args, *self.kwargs.values())
        return [v for v in values if isinstance(v, Tensor) and v.requires_grad]


class OpTester:
    """Tests of one operator: inherit, set ``op`` and ``function``, and write ``samples``.

    Attributes:
        op: Name of the operator.
        function: Public function.
        device: Device type that the tests run on.
        backends: Names of the backends to test; None for all that serve the device.
        dtypes: Dtypes to test besides float64.
        tolerance: Largest relative error by dtype.
        exports: Whether the function exports as a graph of standard operators.
        random_calls: Number of random calls in a quick test.
        repeats: Number of runs that must be equal bit for bit.
    """

    op: str
    function: Callable
    device = "cpu"
    backends: tuple[str, ...] | None = None
    dtypes = (torch.float32, torch.float16, torch.bfloat16)
    tolerance = TOLERANCE
    exports = True
    random_calls = 200
    repeats = 20

    @staticmethod
    def samples() -> dict[str, Sample]:
        """Return calls by name.

        ``"small"`` (some hundred numbers), ``"empty batch"``, ``"one pixel"`` and
        ``"prime sizes"`` are required.
        """
        raise NotImplementedError

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        """Return calls that must raise, by name, each with the type of the exception."""
        return {}

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        """Return a random call, valid or not."""
        raise NotImplementedError

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        """Return a function's name and random arguments for the compiled kernel, valid or not."""
        raise NotImplementedError

    @staticmethod
    def result_dtype(dtype: torch.dtype) -> torch.dtype:
        """Return the dtype of the first result for inputs of a dtype."""
        return dtype

    # --- machinery --------------------------------------------------------------------------------

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Make one test for each backend, sample and dtype that the test's arguments name."""
        served = [
            b
            for b in OPERATORS[cls.op].backends
            if (b.serves(cls.device) if cls.backends is None else b.name in cls.backends)
        ]
        names = {
            "backend": [b.name for b in served],
            "contender": [b.name for b in served if b.name != "reference"],
            "kernel": [b.name for b in served if b.compiled],
        }
        for argument in set(names) & set(metafunc.fixturenames):
            metafunc.parametrize(argument, names[argument])
        if "sample" in metafunc.fixturenames:
            metafunc.parametrize("sample", list(cls.samples()))
        if "dtype" in metafunc.fixturenames:
            metafunc.parametrize("dtype", cls.dtypes, ids=lambda dtype: str(dtype)[6:])

    @pytest.fixture(autouse=True)
    def device_is_there(self) -> None:
        """Skip GPU tests without a GPU, since ``-m slow`` alone selects them too."""
        if self.device == "cuda" and not torch.cuda.is_available():
            pytest.skip("no CUDA device")

    def require(self, backend: str, dtype: torch.dtype = torch.float32) -> None:
        """Skip where the backend cannot run."""
        operator = OPERATORS[self.op]
        reason = operator.why_not(
            backend, self.device, dtype, operator.example_case(self.device, dtype)
        )
        if reason is not None:
            pytest.skip(f"{self.op}: {backend} {reason}")

    def run(self, backend: str | None, sample: Sample) -> tuple[Tensor, ...]:
        """Return the results of a call, and gradients of the first with respect to the leaves."""
        with use_backend(backend):
            results = self.function(*sample.args, **sample.kwargs)
            results = (results,) if isinstance(results, Tensor) else tuple(results)
            leaves = sample.leaves()
            if not leaves:
                return results
            generator = torch.Generator().manual_seed(7)
            weights = torch.randn(results[0].shape, generator=generator, dtype=torch.float64)
            # Rounded first, so that every dtype is asked for the same gradient.
            weights = weights.to(torch.bfloat16).to(results[0].device, results[0].dtype)
            grads = torch.autograd.grad(results[0], leaves, weights)
        return (*(r.detach() for r in results), *grads)

    def assert_close(self, actual, truth, tolerance: float) -> None:
        """Compare tensors; errors are relative to the largest value of each."""
        assert len(actual) == len(truth)
        for index, (a, b) in enumerate(zip(actual, truth, strict=True)):
            assert a.shape == b.shape
            if not b.numel():
                continue
            a, b = a.detach().double().cpu(), b.detach().double().cpu()
            error = (a - b).abs().max() / b.abs().max().clamp_min(1e-30)
            assert error <= tolerance, f"tensor {index}: relative error {error:.2e} > {tolerance}"

    def op_arguments(self) -> tuple:
        """Return the arguments that ``torch.ops.mmattn.<op>`` is checked with."""
        return OPERATORS[self.op].example(self.device, torch.float32)

    # --- numbers ----------------------------------------------------------------------------------

    def test_samples_cover_the_extremes(self) -> None:
        assert {"small", "empty batch", "one pixel", "prime sizes"} <= set(self.samples())

    def test_float64_equals_the_reference(self, contender: str, sample: str) -> None:
        self.require(contender, torch.float64)
        call = self.samples()[sample].to(self.device, torch.float64, grad=True)
        self.assert_close(self.run(contender, call), self.run("reference", call), 1e-10)

    def test_each_dtype_against_float64(
        self, backend: str, sample: str, dtype: torch.dtype
    ) -> None:
        """Inputs are rounded first, so that only the operator's own error is left."""
        self.require(backend, dtype)
        rounded = self.samples()[sample].to(self.device, dtype)
        truth = self.run("reference", rounded.to(self.device, torch.float64, grad=True))
        actual = self.run(backend, rounded.to(self.device, dtype, grad=True))
        assert actual[0].dtype == self.result_dtype(dtype)
        # Plain torch on the CPU may sum half-precision numbers in half precision.
        slack = 5 if backend == "reference" and dtype.itemsize == 2 else 1
        self.assert_close(actual, truth, slack * self.tolerance[dtype])

    def test_gradcheck(self, backend: str) -> None:
        self.require(backend, torch.float64)
        call = self.samples()["small"].to(self.device, torch.float64, grad=True)
        leaves = call.leaves()

        def function(*values: Tensor):
            by_id = {id(leaf): value for leaf, value in zip(leaves, values, strict=True)}
            args = (by_id.get(id(a), a) for a in call.args)
            kwargs = {key: by_id.get(id(a), a) for key, a in call.kwargs.items()}
            return self.function(*args, **kwargs)

        with use_backend(backend):
            assert torch.autograd.gradcheck(function, leaves, fast_mode=True)

    def test_only_wanted_gradients(self, backend: str) -> None:
        """Each input alone gets the gradient that it gets together with the others."""
        self.require(backend)
        every = self.samples()["small"].to(self.device, torch.float32, grad=True)
        *_, truth = self.run(backend, every), self.run(backend, every)
        count = len(every.leaves())
        for index in range(count):
            alone = self.samples()["small"].to(self.device, torch.float32, grad=True)
            for other, leaf in enumerate(alone.leaves()):
                if other != index:
                    leaf.requires_grad_(False)
            actual = self.run(backend, alone)
            self.assert_close(actual[-1:], [truth[len(truth) - count + index]], 1e-6)

    # --- torch's machinery ------------------------------------------------------------------------

    def test_opcheck(self, backend: str) -> None:
        """Schema, autograd registration, fakes, traced dispatch: ``torch.library.opcheck``."""
        self.require(backend)
        args = [
            a.requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a
            for a in self.op_arguments()
        ]
        with use_backend(backend):
            torch.library.opcheck(getattr(torch.ops.mmattn, self.op).default, tuple(args))

    def test_opcheck_of_what_backward_calls(self, backend: str) -> None:
        """The operator's other functions, with the arguments that a backward pass gives them."""
        self.require(backend)
        seen = _Recorder(self.op)
        with seen, use_backend(backend):
            self.op_call_with_backward()
        assert {f._opname for f, _ in seen.calls} == {
            OPERATORS[self.op].qualified_name(name).split("::")[1]
            for name in OPERATORS[self.op].functions
        }
        for function, args in seen.calls:
            with use_backend(backend):
                torch.library.opcheck(function, args, test_utils=("test_schema", "test_faketensor"))

    def op_call_with_backward(self) -> None:
        """Run the doctor's example through the operator, forward and backward."""
        args = [
            a.requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a
            for a in self.op_arguments()
        ]
        result = getattr(torch.ops.mmattn, self.op).default(*args)
        (result if isinstance(result, Tensor) else result[0]).square().sum().backward()

    def test_compiles_to_one_graph(self, backend: str) -> None:
        self.compiled(backend, "aot_eager")

    @pytest.mark.slow
    def test_inductor_compiles_to_one_graph(self, backend: str) -> None:
        self.compiled(backend, "inductor")

    def compiled(self, backend: str, compiler: str) -> None:
        """Check that compiled results and gradients equal the eager ones."""
        self.require(backend)
        torch.compiler.reset()
        call = self.samples()["prime sizes"].to(self.device, torch.float32, grad=True)
        truth = self.run(backend, call)
        compiled = torch.compile(self.function, fullgraph=True, backend=compiler)
        with use_backend(backend):
            result = compiled(*call.args, **call.kwargs)
        result = result if isinstance(result, Tensor) else result[0]
        self.assert_close([result], truth[:1], 1e-5)
        with use_backend(backend):
            grads = torch.autograd.grad(result.square().sum(), call.leaves())
            eager = self.function(*call.args, **call.kwargs)
            eager = eager if isinstance(eager, Tensor) else eager[0]
            expected = torch.autograd.grad(eager.square().sum(), call.leaves())
        self.assert_close(grads, expected, 1e-4)
        torch.compiler.reset()

    def test_exports_as_standard_operators(self) -> None:
        if not self.exports:
            pytest.skip(f"{self.op} is not exported")
        module, call = self.module(), self.samples()["prime sizes"].to(self.device, torch.float32)
        program = torch.export.export(module, self.tensors(call))
        targets = {str(node.target) for node in program.graph.nodes}
        assert not [target for target in targets if "mmattn" in target]
        self.assert_close(
            [program.module()(*self.tensors(call))], self.run("reference", call)[:1], 1e-5
        )

    def test_runs_in_onnxruntime(self) -> None:
        if not self.exports:
            pytest.skip(f"{self.op} is not exported")
        pytest.importorskip("onnxscript")
        runtime = pytest.importorskip("onnxruntime")
        module, call = self.module(), self.samples()["prime sizes"].to("cpu", torch.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own
            program = torch.onnx.export(module, self.tensors(call), dynamo=True, verbose=False)
        file = io.BytesIO()
        program.save(file)
        session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
        names = [i.name for i in session.get_inputs()]
        feed = {n: t.numpy() for n, t in zip(names, self.tensors(call), strict=True)}
        actual = torch.from_numpy(session.run(None, feed)[0])
        self.assert_close([actual], self.run("reference", call)[:1], 1e-5)

    def module(self) -> torch.nn.Module:
        """Return the call with "prime sizes" as a module of its tensors."""
        sample, function = self.samples()["prime sizes"], self.function

        class Call(torch.nn.Module):
            def forward(self, *tensors: Tensor):
                given = iter(tensors)
                args = [next(given) if isinstance(a, Tensor) else a for a in sample.args]
                kwargs = {
                    k: next(given) if isinstance(a, Tensor) else a for k, a in sample.kwargs.items()
                }
                result = function(*args, **kwargs)
                return result if isinstance(result, Tensor) else result[0]

        return Call().eval()

    @staticmethod
    def tensors(sample: Sample) -> tuple[Tensor, ...]:
        """Return the tensors of a call, in order."""
        values = (*sample.args, *sample.kwargs.values())
        return tuple(v for v in values if isinstance(v, Tensor))

    # --- memory -----------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "layout", ["channels-last", "sliced", "expanded", "transposed", "negated offset"]
    )
    def test_any_layout_gives_the_same(self, backend: str, layout: str) -> None:
        self.require(backend)
        call = self.samples()["prime sizes"].to(self.device, torch.float32)

        def lay(value):
            if not isinstance(value, Tensor) or not value.is_floating_point():
                return value
            return _lay_out(value, layout).requires_grad_()

        laid = Sample(
            tuple(map(lay, call.args)), {key: lay(value) for key, value in call.kwargs.items()}
        )
        dense = Sample(
            tuple(_dense(a) for a in laid.args), {k: _dense(a) for k, a in laid.kwargs.items()}
        )
        self.assert_close(self.run(backend, laid), self.run(backend, dense), 1e-5)

    def test_expanded_gradient(self, backend: str) -> None:
        """The gradient of a plain sum is one number, expanded."""
        self.require(backend)
        call = self.samples()["prime sizes"].to(self.device, torch.float64, grad=True)
        narrow = call.to(self.device, torch.float32, grad=True)
        grads = {}
        for name, each in (("reference", call), (backend, narrow)):
            with use_backend(name):
                result = self.function(*each.args, **each.kwargs)
                result = result if isinstance(result, Tensor) else result[0]
                grads[id(each)] = torch.autograd.grad(result.sum(), each.leaves())
        # Numbers of either sign cancel in these sums, so the relative error is larger.
        self.assert_close(grads[id(narrow)], grads[id(call)], 1e-3)

    # --- wrong calls ------------------------------------------------------------------------------

    def test_wrong_calls_are_refused(self) -> None:
        for name, (sample, expected) in self.wrong_calls().items():
            with pytest.raises(expected, match=self.op):
                self.function(*sample.args, **sample.kwargs)
                pytest.fail(f"accepted: {name}")

    def test_what_is_no_dense_tensor_is_refused(self) -> None:
        call = self.samples()["small"]
        places = [place for place, value in enumerate(call.args) if isinstance(value, Tensor)]
        for place, spoilt in itertools.product(places, (Tensor.tolist, Tensor.to_sparse)):
            args = [*call.args[:place], spoilt(call.args[place]), *call.args[place + 1 :]]
            with pytest.raises(TypeError, match=r"must be (a tensor|dense)"):
                self.function(*args, **call.kwargs)

    def test_random_calls_never_crash(self, backend: str) -> None:
        """Through the public function: a result as the reference's, or a Python exception."""
        self.require(backend)
        self.random_public_calls(backend, self.random_calls)

    @pytest.mark.slow
    def test_many_random_calls_never_crash(self, backend: str) -> None:
        self.require(backend)
        self.random_public_calls(backend, 20 * self.random_calls, seed=1)

    def random_public_calls(self, backend: str, count: int, seed: int = 0) -> None:
        """Check that a backend raises for the same calls as the reference."""
        rng = random.Random(seed)
        for _ in range(count):
            call = self.random_call(rng)
            outcomes = []
            for name in ("reference", backend):
                try:
                    outcomes.append(self.run(name, call)[0].shape)
                except REFUSALS:
                    outcomes.append(None)
            assert outcomes[0] == outcomes[1], (call.args, call.kwargs)

    def test_random_kernel_calls_never_crash(self, kernel: str) -> None:
        """Below the public function's checks: the compiled kernels check for themselves."""
        self.require(kernel)
        self.random_kernel_calls(kernel, self.random_calls)

    @pytest.mark.slow
    def test_many_random_kernel_calls_never_crash(self, kernel: str) -> None:
        self.require(kernel)
        self.random_kernel_calls(kernel, 20 * self.random_calls, seed=1)

    def random_kernel_calls(self, backend: str, count: int, seed: int = 0) -> None:
        """Run calls from ``random_kernel_call``, of which some must work and some must raise."""
        rng = random.Random(seed)
        accepted = refused = 0
        for _ in range(count):
            function, args = self.random_kernel_call(rng)
            compiled = next(b for b in OPERATORS[self.op].backends if b.name == backend)
            try:
                compiled.function(function)(*args)
                accepted += 1
            except REFUSALS:
                refused += 1
        assert accepted and refused, "the random calls must be neither all valid nor all invalid"

    # --- repetition -------------------------------------------------------------------------------

    def test_repeated_runs_are_equal(self, backend: str) -> None:
        self.require(backend)
        call = self.samples()["prime sizes"].to(self.device, torch.float32, grad=True)
        torch.use_deterministic_algorithms(True)
        try:
            first = self.run(backend, call)
            for _ in range(self.repeats - 1):
                for a, b in zip(self.run(backend, call), first, strict=True):
                    assert torch.equal(a, b)
        finally:
            torch.use_deterministic_algorithms(False)

    def test_number_of_threads_does_not_matter(self, backend: str) -> None:
        self.require(backend)
        call = self.samples()["prime sizes"].to(self.device, torch.float32, grad=True)
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            one = self.run(backend, call)
            torch.set_num_threads(2)
            two = self.run(backend, call)
        finally:
            torch.set_num_threads(before)
        self.assert_close(two, one, 0.0 if backend == "cpp" else 1e-5)

    def test_two_python_threads(self, backend: str) -> None:
        """Calls at the same time do not disturb each other."""
        self.require(backend)
        names = ["prime sizes", "small"]
        calls = [self.samples()[n].to(self.device, torch.float32, grad=True) for n in names]
        truth = [self.run(backend, call) for call in calls]
        problems: list[BaseException] = []

        def work(index: int) -> None:
            try:
                for _ in range(10):
                    results = self.function(*calls[index].args, **calls[index].kwargs)
                    results = (results,) if isinstance(results, Tensor) else results
                    self.assert_close(results[:1], truth[index][:1], 1e-5)
            except BaseException as error:  # it is raised in the test's own thread, below
                problems.append(error)

        with use_backend(backend):
            threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if problems:
            raise problems[0]


class _Recorder(TorchDispatchMode):
    """Remembers the calls of an operator's functions."""

    def __init__(self, op: str) -> None:
        super().__init__()
        self.op = op
        self.calls: list[tuple[Callable, tuple]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "mmattn" and function._opname.startswith(self.op):
            detached = (a.detach() if isinstance(a, Tensor) else a for a in args)
            self.calls.append((function, tuple(detached)))
        return function(*args, **(kwargs or {}))


def _lay_out(value: Tensor, layout: str) -> Tensor:
    """Return the same numbers (repeated if "expanded") in another memory layout."""
    value = value.detach()
    if layout == "channels-last":
        return value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
    if layout == "sliced":
        larger = torch.zeros([s + 2 for s in value.shape], dtype=value.dtype, device=value.device)
        inner = larger[tuple(slice(1, -1) for _ in value.shape)]
        return inner.copy_(value)
    if layout == "expanded":
        return value[:1].expand_as(value)
    if layout == "transposed":
        return value.transpose(0, -1).contiguous().transpose(0, -1)
    # A view that starts in the middle of a buffer, at an address that is not aligned.
    buffer = torch.empty(value.numel() + 3, dtype=value.dtype, device=value.device)
    return buffer[3:].view(value.shape).copy_(value)


def _dense(value):
    if not isinstance(value, Tensor):
        return value
    return (
        value.detach()
        .clone(memory_format=torch.contiguous_format)
        .requires_grad_(value.requires_grad)
    )
