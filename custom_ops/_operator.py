"""Operators: several backends under one ``torch.library`` name, and the choice between them.

``Operator`` registers ``mmattn::<op>`` (and ``mmattn::<op>_backward`` ...) once, with schema, fake
and FLOP formula. Each call then goes to the first backend that can serve it; plain torch is
always the last and serves every call. ``use_backend`` or ``MMATTN_OPS_BACKEND`` forces a choice.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import register_flop_formula

from . import build
from ._backends import Backend, Reference

NAMESPACE = "mmattn"
OPERATORS: dict[str, Operator] = {}
BACKENDS = ("reference", "cpp", "cuda", "triton")


def _check_backend(name: str | None, source: str) -> str | None:
    if name is not None and name not in BACKENDS:
        raise ValueError(f"{source}: unknown backend {name!r}, choose from {', '.join(BACKENDS)}")
    return name


# Process-wide on purpose: a backward pass may run in another thread than its forward pass.
_forced = _check_backend(os.environ.get("MMATTN_OPS_BACKEND") or None, "MMATTN_OPS_BACKEND")
_warned = False


class BackendError(RuntimeError):
    """Raised when the forced backend cannot serve a call; the message says why."""


@contextmanager
def use_backend(name: str | None) -> Iterator[None]:
    """Force a backend for all operators that have one of this name, in the whole process.

    An operator without such a backend is not affected; one whose backend cannot serve a call raises
    ``BackendError``. The backward pass chooses its backend when it runs, so keep it inside the
    context too. The environment variable ``MMATTN_OPS_BACKEND`` forces a backend for a whole run.

    Args:
        name: ``"reference"``, ``"cpp"``, ``"cuda"`` or ``"triton"``; None forces nothing.

    Raises:
        ValueError: The name is none of these.

    Example:
        >>> with use_backend("reference"):
        ...     pass
    """
    global _forced
    before, _forced = _forced, _check_backend(name, "use_backend")
    try:
        yield
    finally:
        _forced = before


def forced_backend() -> str | None:
    """Return the backend that is forced at the moment, or None."""
    return _forced


@dataclass(frozen=True)
class Function:
    """One function of an operator.

    Args:
        schema: Arguments and results in torch's schema language, without the name.
        fake: Function from argument tensors to empty result tensors (shape, dtype, strides).
        flops: Function from argument shapes, as ``torch.utils.flop_counter`` passes them, to the
            number of operations.
    """

    schema: str
    fake: Callable
    flops: Callable[..., int] | None = None


class Operator:
    """Several backends under one name, of which each call takes the first that can serve it.

    Args:
        name: Name of the operator in torch (``mmattn::<name>``) and of its folder.
        module: ``__name__`` of the operator's ``op.py``; ``reference.py`` is beside it.
        functions: Functions of the operator by name: ``forward`` and any others; ``backward``
            becomes ``mmattn::<name>_backward``. The device and the dtype of a function's first
            argument decide which backend runs.
        backends: Backends in order of preference, without the reference, which is always the last.
        case: Function from a function's name and its arguments to what the choice may depend on
            besides device and dtype: a plain hashable value of static facts, such as kernel sizes
            (not image sizes).
        example: Function from a device and a dtype to small arguments of ``forward``, which the
            doctor runs.
        notes: Text that the doctor prints, for instance a table of measured choices.

    Attributes:
        backends: All backends in order of preference, the reference last.
    """

    def __init__(
        self,
        name: str,
        module: str,
        *,
        functions: dict[str, Function],
        backends: Sequence[Backend] = (),
        case: Callable[[str, tuple], Hashable] | None = None,
        example: Callable[[str, torch.dtype], tuple],
        notes: str | None = None,
    ) -> None:
        self.name = name
        self.functions = functions
        self.backends: tuple[Backend, ...] = (*backends, Reference())
        self.example = example
        self.notes = notes
        self._case = case
        self._choices: dict[tuple, tuple[Backend, Callable]] = {}
        for backend in self.backends:
            backend.bind(name, module.rpartition(".")[0])
        for function, spec in functions.items():
            self._register(function, spec)
        OPERATORS[name] = self

    def qualified_name(self, function: str = "forward") -> str:
        """Return the name in torch, ``mmattn::<op>`` or ``mmattn::<op>_<function>``."""
        return f"{NAMESPACE}::{self.name}" + ("" if function == "forward" else f"_{function}")

    def _register(self, function: str, spec: Function) -> None:
        name = self.qualified_name(function)
        torch.library.define(name, spec.schema, tags=(torch.Tag.pt2_compliant_tag,))

        def call(*args):
            case = self._case(function, args) if self._case else None
            tensor = args[0]
            deterministic = torch.are_deterministic_algorithms_enabled()
            _, run = self._choose(
                function, tensor.device.type, tensor.dtype, case, _forced, deterministic
            )
            return run(*args)

        torch.library.impl(name, "CompositeExplicitAutograd", call)
        torch.library.register_fake(name, spec.fake)
        if spec.flops is not None:
            packet = getattr(getattr(torch.ops, NAMESPACE), name.split("::")[1])
            register_flop_formula(packet)(spec.flops)

    def choose(
        self, device: str, dtype: torch.dtype, case: Hashable = None, function: str = "forward"
    ) -> str:
        """Return the name of the backend that a call would run.

        Can be traced by ``torch.compile``, which then guards the choice.

        Raises:
            BackendError: A backend is forced that cannot serve the call.
        """
        deterministic = torch.are_deterministic_algorithms_enabled()
        return _chosen_name(self.name, function, device, dtype, case, _forced, deterministic)

    def why_not(
        self, backend: str, device: str, dtype: torch.dtype, case: Hashable = None,
        function: str = "forward",
    ) -> str | None:  # fmt: skip
        """Return why a backend would not serve a call even if it were forced, or None."""
        deterministic = torch.are_deterministic_algorithms_enabled()
        for candidate in self.backends:
            if candidate.name == backend:
                return candidate.why_not(function, device, dtype, case, deterministic)
        return "does not exist for this operator"

    def available(self, device: str, dtype: torch.dtype = torch.float32) -> list[str]:
        """Return the names of the backends that can run here, best first."""
        return [b.name for b in self.backends if self.why_not(b.name, device, dtype) is None]

    def reset(self) -> None:
        """Forget choices and look for libraries again, after a build."""
        self._choices.clear()
        for backend in self.backends:
            backend.reset()

    def example_case(self, device: str, dtype: torch.dtype) -> Hashable:
        """Return the case of the doctor's example, for ``choose`` and ``why_not``."""
        return self._case("forward", self.example(device, dtype)) if self._case else None

    def _choose(
        self, function: str, device: str, dtype: torch.dtype, case: Hashable, forced: str | None,
        deterministic: bool,
    ) -> tuple[Backend, Callable]:  # fmt: skip
        """Return the backend that serves a call, and its callable; remembered for the next call."""
        key = (function, device, dtype, case, forced, deterministic)
        if key not in self._choices:
            self._choices[key] = self._select(*key)
        return self._choices[key]

    def _select(
        self, function: str, device: str, dtype: torch.dtype, case: Hashable, forced: str | None,
        deterministic: bool,
    ) -> tuple[Backend, Callable]:  # fmt: skip
        for backend in self.backends:
            if backend.name != forced:
                continue
            reason = backend.why_not(function, device, dtype, case, deterministic)
            if reason is None:
                return backend, backend.require_function(function)
            raise BackendError(f"{self.name}: backend {forced!r} is forced but {reason}")
        for backend in self.backends:
            if not backend.automatic(device):
                continue
            reason = backend.why_not(function, device, dtype, case, deterministic)
            if reason is None and not (backend.yields and backend.yields(case)):
                return backend, backend.require_function(function)
            if backend.compiled and backend.serves(device):
                missing = backend.missing()
                if missing is not None:
                    _warn_once(self.name, missing)
        raise BackendError(f"{self.name}: no backend has {function} for {dtype} on {device}")


@torch.compiler.assume_constant_result
def _chosen_name(op, function, device, dtype, case, forced, deterministic) -> str:
    # Everything that may change between calls is an argument, so that compiled code guards it.
    return OPERATORS[op]._choose(function, device, dtype, case, forced, deterministic)[0].name


def _warn_once(op: str, reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"mmattn.ops: the fast kernel of {op} is missing: {reason}. Plain torch computes the "
            f"same, but more slowly. Build the kernels once with `{build.BUILD_COMMAND}`, or set "
            "MMATTN_OPS_BACKEND=reference to use plain torch without this warning.",
            stacklevel=5,
        )


def is_exporting() -> bool:
    """Return whether a graph is being exported.

    Exported graphs should hold standard operators, so operators run their reference then.
    """
    return torch.compiler.is_exporting() or is_tracing()


def is_tracing() -> bool:
    """Return whether ``torch.jit.trace``, or the ONNX exporter built on it, records a graph."""
    return torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]  (it is documented)
