"""Operators: several backends under one ``torch.library`` name, and the choice between them.

``Operator`` registers ``mmattn::<op>`` (and ``mmattn::<op>_backward`` ...) once, with schema, fake
and FLOP formula. Each call then goes to the first backend that can serve it; plain torch is
always the last and always can. ``use_backend`` or ``MMATTN_OPS_BACKEND`` force a choice.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from . import _build
from ._backends import Backend, Compiled, Reference

NAMESPACE = "mmattn"
OPERATORS: dict[str, Operator] = {}
BACKENDS = ("reference", "cpp", "cuda", "triton")


def _checked(name: str | None, source: str) -> str | None:
    if name is not None and name not in BACKENDS:
        raise ValueError(f"{source}: unknown backend {name!r}, choose from {', '.join(BACKENDS)}")
    return name


# Process-wide on purpose: a backward pass may run in another thread than its forward pass.
_forced = _checked(os.environ.get("MMATTN_OPS_BACKEND") or None, "MMATTN_OPS_BACKEND")
_warned = False


class BackendError(RuntimeError):
    """The backend that was asked for cannot serve the call; the message says why."""


@contextmanager
def use_backend(name: str | None) -> Iterator[None]:
    """Force a backend, for all operators that have one of this name, in the whole process.

    An operator without such a backend chooses as always; one whose backend cannot serve the call
    raises. The backward pass is chosen when it runs, so keep it inside too. The environment
    variable ``MMATTN_OPS_BACKEND`` does the same for a whole run.

    Args:
        name: ``"reference"``, ``"cpp"``, ``"cuda"`` or ``"triton"``; None chooses as always.

    Raises:
        ValueError: The name is none of these.

    Example:
        >>> with use_backend("reference"):
        ...     pass
    """
    global _forced
    before, _forced = _forced, _checked(name, "use_backend")
    try:
        yield
    finally:
        _forced = before


def forced_backend() -> str | None:
    """The backend that is forced at the moment, or None."""
    return _forced


@dataclass(frozen=True)
class Function:
    """One function of an operator.

    Args:
        schema: Arguments and results in torch's schema language, without the name.
        fake: Result tensors from argument tensors without computing (shape, dtype, strides).
        flops: Operations from argument shapes, as ``torch.utils.flop_counter`` passes them.
    """

    schema: str
    fake: Callable
    flops: Callable[..., int] | None = None


class Operator:
    """Backends under one name.

    Args:
        name: The name in torch, ``mmattn::<name>``, and the folder's name.
        package: ``__package__`` of the operator's folder.
        functions: ``forward`` and whatever else there is; ``backward`` becomes
            ``mmattn::<name>_backward``. The first argument of each is the tensor whose device and
            dtype choose the backend.
        backends: In order of preference, without the reference, which is always the last.
        case: What a choice may depend on beside device and dtype: from a function's name and its
            arguments, a plain tuple or the like of static facts (kernel sizes, not picture sizes).
        example: Arguments of ``forward`` for the doctor, from a device and a dtype.
        notes: What the doctor should print besides, for instance a table of measured choices.
    """

    def __init__(
        self,
        name: str,
        package: str,
        *,
        functions: dict[str, Function],
        backends: Sequence[Backend] = (),
        case: Callable[[str, tuple], Hashable] | None = None,
        example: Callable[[str, torch.dtype], tuple],
        notes: str | None = None,
    ) -> None:
        self.name = name
        self.functions = functions
        self.backends = (*backends, Reference())
        self.example = example
        self.notes = notes
        self._case = case
        self._choices: dict[tuple, tuple[Backend, Callable]] = {}
        for backend in self.backends:
            backend.bind(name, package)
        for function, spec in functions.items():
            self._register(function, spec)
        OPERATORS[name] = self

    def qualified_name(self, function: str = "forward") -> str:
        """The name in torch, ``mmattn::<op>`` or ``mmattn::<op>_<function>``."""
        return f"{NAMESPACE}::{self.name}" + ("" if function == "forward" else f"_{function}")

    def _register(self, function: str, spec: Function) -> None:
        name = self.qualified_name(function)
        torch.library.define(name, spec.schema, tags=(torch.Tag.pt2_compliant_tag,))

        def call(*args):
            case = self._case(function, args) if self._case else None
            tensor = args[0]
            facts = (tensor.device.type, tensor.dtype, case, _forced)
            return self._choose(function, *facts, torch.are_deterministic_algorithms_enabled())[1](
                *args
            )

        torch.library.impl(name, "CompositeExplicitAutograd", call)
        torch.library.register_fake(name, spec.fake)
        if spec.flops is not None:
            packet = getattr(getattr(torch.ops, NAMESPACE), name.split("::")[1])
            register_flop_formula(packet)(spec.flops)

    def choose(
        self, device: str, dtype: torch.dtype, case: Hashable = None, function: str = "forward"
    ) -> str:
        """Name of the backend that a call would run. Traceable by ``torch.compile``, with guards.

        Raises:
            BackendError: A backend is forced that cannot serve the call.
        """
        deterministic = torch.are_deterministic_algorithms_enabled()
        return _chosen_name(self.name, function, device, dtype, case, _forced, deterministic)

    def why_not(
        self, backend: str, device: str, dtype: torch.dtype, case: Hashable = None,
        function: str = "forward",
    ) -> str | None:  # fmt: skip
        """Why a backend would not serve a call even if it were forced, or None."""
        for each in self.backends:
            if each.name == backend:
                return each.why_not(
                    function, device, dtype, case, torch.are_deterministic_algorithms_enabled()
                )
        return "there is none for this operator"

    def available(self, device: str, dtype: torch.dtype = torch.float32) -> list[str]:
        """Names of the backends that can run here, best first."""
        return [b.name for b in self.backends if self.why_not(b.name, device, dtype) is None]

    def reset(self) -> None:
        """Forget choices and look for libraries again, after a build."""
        self._choices.clear()
        for backend in self.backends:
            if isinstance(backend, Compiled):
                backend.reset()

    def example_case(self, device: str, dtype: torch.dtype) -> Hashable:
        """The case of the doctor's example."""
        return self._case("forward", self.example(device, dtype)) if self._case else None

    def _choose(self, *key) -> tuple[Backend, Callable]:
        """Backend and callable for (function, device, dtype, case, forced, deterministic)."""
        if key not in self._choices:
            backend = self._select(*key)
            self._choices[key] = (backend, backend.function(key[0]))
        return self._choices[key]

    def _select(
        self, function: str, device: str, dtype: torch.dtype, case: Hashable, forced: str | None,
        deterministic: bool,
    ) -> Backend:  # fmt: skip
        facts = (function, device, dtype, case, deterministic)
        for backend in self.backends:
            if backend.name == forced:
                reason = backend.why_not(*facts)
                if reason is not None:
                    raise BackendError(f"{self.name}: backend {forced!r} was forced but {reason}")
                return backend
        for backend in self.backends:
            if not backend.automatic(device):
                continue
            reason = backend.why_not(*facts)
            if reason is None and not (backend.yields and backend.yields(case)):
                return backend
            if isinstance(backend, Compiled) and backend.serves(device) and backend.missing():
                _warn_once(self.name, backend.missing())
        raise BackendError(f"{self.name}: no backend has {function} for {dtype} on {device}")


@torch.compiler.assume_constant_result
def _chosen_name(op, function, device, dtype, case, forced, deterministic) -> str:
    # What may change between calls comes in as an argument, so that compiled code is guarded by it.
    return OPERATORS[op]._choose(function, device, dtype, case, forced, deterministic)[0].name


def _warn_once(op: str, reason: str | None) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"mmattn.ops: the fast kernel of {op} is missing: {reason}. Plain torch answers: "
            f"right, but slower. Build once with `{_build.BUILD_COMMAND}`, or set "
            "MMATTN_OPS_BACKEND=reference to stay with plain torch without this message.",
            stacklevel=5,
        )


def exporting() -> bool:
    """Whether a graph is exported: it should hold standard operators, so use the reference."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def _autocast_on(device_type: str) -> bool:
    # Asking about a device that autocast does not know (meta) is an error.
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def autocast_off(device_type: str):
    """A context without autocast, for operators that choose their precision themselves."""
    # Entered only where autocast is on: an exported graph should not carry a region for nothing.
    if _autocast_on(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def autocast_to_lower(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    """Cast floating tensors as autocast does for convolutions and products, where it is on."""
    device = next(t for t in tensors if t is not None).device.type
    if not _autocast_on(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(
        t.to(dtype) if t is not None and t.is_floating_point() and t.dtype != torch.float64 else t
        for t in tensors
    )


def differentiate(
    function: Callable, inputs: Sequence[Tensor | None], grads: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Gradients of a composition of torch operators, by running it again under autograd.

    For the ``backward`` of a ``reference.py`` that has no formula of its own, and for second
    derivatives. It also works below autograd, where the kernels of an operator run.

    Args:
        function: From the inputs to a tensor or a tuple of tensors.
        inputs: Where to differentiate; those that are None or not floating point get None.
        grads: One for each output; None for one that nobody used.
    """
    keys = (
        "AutogradFunctionality",
        "ADInplaceOrView",
        "AutogradOther",
        "AutogradCPU",
        "AutogradCUDA",
    )
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in keys:
        excluded = excluded.remove(getattr(torch._C.DispatchKey, key))
    included = torch._C._dispatch_tls_local_include_set()
    with torch._C._ForceDispatchKeyGuard(included, excluded), torch.enable_grad():
        leaves = [
            t if t is None else t.detach().requires_grad_(t.is_floating_point()) for t in inputs
        ]
        outputs = function(*leaves)
        outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        used = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
        wanted = [leaf is not None and leaf.requires_grad for leaf in leaves]
        found = iter(
            torch.autograd.grad(
                [o for o, _ in used],
                [leaf for leaf, want in zip(leaves, wanted, strict=True) if want],
                [g for _, g in used],
                allow_unused=True,
            )
        )
    return tuple(next(found) if want else None for want in wanted)
