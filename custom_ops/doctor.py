"""Report which backends run on this machine, whether they are right, and how fast they are.

For every operator: its backends; which of them serves a call on each device and in each dtype, and
why not the others; then opcheck, parity with a float64 reference (forward and gradients), timings.
All of that with ``verbose``, else one screen. ``find_out`` returns it as objects.
"""

from __future__ import annotations

import math
import platform
import time
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from . import build
from ._backends import Backend
from ._doctor_screen import Finding, Row, screen
from ._families import describe_families
from ._operator import OPERATORS, Operator, use_backend

__all__ = ["Finding", "describe_families", "examine", "find_out"]

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# Largest error relative to the largest true value: some roundings of each dtype.
TOLERANCE = {
    torch.float64: 1e-10, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2,
}  # fmt: skip


def examine(
    names: Sequence[str] | None,
    *,
    quick: bool = False,
    verbose: bool = False,
    log: Callable[[str], None],
) -> int:
    """Write the report.

    Args:
        names: Names of the operators to examine; None for all.
        quick: Whether to leave out opcheck and timings.
        verbose: Whether to show every backend, dtype, check and time, instead of one screen.
        log: Function that takes one line of the report.

    Returns:
        0, or 1 when a check failed, or 2 when a name is unknown.
    """
    unknown = sorted(set(names or ()) - set(OPERATORS))
    if unknown:
        log(f"unknown operators: {', '.join(unknown)}; choose from {', '.join(sorted(OPERATORS))}")
        return 2
    for line in _machine():
        log(line)
    failed, findings = 0, []
    for name in sorted(names or OPERATORS):
        operator = OPERATORS[name]
        checks, failures = _checks(operator, quick=quick)
        failed += failures
        timings = [] if quick else _timings(operator)
        finding = Finding(name, _states(operator), _choices(operator), checks, timings)
        findings.append(finding)
        if verbose:
            _show(operator, finding, log)
    if not verbose:
        log("")
        for line in screen(findings):
            log(line)
    log(f"\n{failed} checks failed" if failed else "\nall checks passed")
    if not verbose:
        log("every backend, dtype, check and time: --verbose")
    return 1 if failed else 0


def find_out(*, checks: bool) -> list[Finding]:
    """Return which backends there are, which serve which calls, and whether they compute right.

    Args:
        checks: Whether to compare each backend with the reference in float64.
    """
    return [
        Finding(
            name,
            _states(operator),
            _choices(operator),
            _checks(operator, quick=True)[0] if checks else [],
            [],
        )
        for name, operator in sorted(OPERATORS.items())
    ]


def _show(operator: Operator, finding: Finding, log: Callable[[str], None]) -> None:
    """Write all that was found about an operator."""
    log(f"\n{finding.name}\n{'=' * len(finding.name)}")
    _table(("backend", "state"), finding.states, log)
    _table(("device", "dtype", "runs", "why not the others"), finding.choices, log)
    if operator.notes is not None:
        log(operator.notes)
    _table(("backend", "device", "dtype", "check", "result"), finding.checks, log)
    if finding.timings:
        head = ("device", "dtype", "backend", "forward + backward", "reference / it")
        _table(head, finding.timings, log)


def parity(operator: Operator, backend: str, device: str, dtype: torch.dtype) -> dict[str, float]:
    """Return errors of a backend against the reference in float64, by name of result and gradient.

    An error is the largest difference divided by the largest value of the reference; NaN counts as
    infinite.
    """
    args = operator.example(device, dtype)
    wide = tuple(a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args)
    expected, actual = _run(operator, "reference", wide), _run(operator, backend, args)
    errors = {}
    for name, reference in expected.items():
        scale = reference.abs().max().clamp_min(1e-30)
        error = ((actual[name].double() - reference).abs().max() / scale).item()
        errors[name] = float("inf") if math.isnan(error) else error
    return errors


def _run(operator: Operator, backend: str, args: tuple) -> dict[str, Tensor]:
    leaves = [
        a.detach().requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a
        for a in args
    ]
    with use_backend(backend):
        results = _function(operator)(*leaves)
        results = (results,) if isinstance(results, Tensor) else results
        generator = torch.Generator().manual_seed(1)
        named = {}
        for index, result in enumerate(results):
            named[f"result {index}"] = result.detach()
        first = results[0]
        grad = torch.randn(first.shape, generator=generator).to(first.device, first.dtype)
        inputs = [a for a in leaves if isinstance(a, Tensor) and a.requires_grad]
        grads = torch.autograd.grad(first, inputs, grad, allow_unused=True)
    names = [i for i, a in enumerate(leaves) if isinstance(a, Tensor) and a.requires_grad]
    named.update({f"gradient {i}": g for i, g in zip(names, grads, strict=True) if g is not None})
    return named


def _function(operator: Operator):
    return getattr(torch.ops.mmattn, operator.name).default


def _machine() -> list[str]:
    lines = [
        f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() != 1)}",
        f"C++ compiler: {build.cxx() or 'none'}; CUDA compiler: {build.nvcc() or 'none'}",
        f"libraries: {build.EMBEDDED} and {build.cache_directory()}",
    ]
    if torch.cuda.is_available():
        lines.append(f"GPU: {torch.cuda.get_device_name()}")
    return [*lines, *describe_families()]


def _devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _states(operator: Operator) -> list[Row]:
    return [(b.name, b.missing() or "present") for b in operator.backends]


def _choices(operator: Operator) -> list[Row]:
    rows = []
    with warnings.catch_warnings(), use_backend(None):
        warnings.simplefilter("ignore")
        for device in ("cpu", "cuda"):
            if device not in _devices():
                rows.append((device, "all", "-", "no such device"))
                continue
            for dtype in DTYPES:
                case = operator.example_case(device, dtype)
                chosen = operator.choose(device, dtype, case)
                later = f"comes after {chosen}"
                reasons = [
                    f"{b.name} {_reason(operator, b, device, dtype, case) or later}"
                    for b in operator.backends
                    if b.name != chosen
                ]
                rows.append((device, str(dtype)[6:], chosen, "; ".join(reasons)))
    return rows


def _reason(operator: Operator, backend: Backend, device: str, dtype, case) -> str | None:
    if (reason := operator.why_not(backend.name, device, dtype, case)) is not None:
        return reason
    if not backend.automatic(device):
        return f"runs on {device} only when forced"
    return backend.yields(case) if backend.yields else None


def _checks(operator: Operator, *, quick: bool) -> tuple[list[Row], int]:
    rows, failures = [], 0
    for device in _devices():
        for backend in operator.backends:
            for dtype in DTYPES:
                case = operator.example_case(device, dtype)
                if operator.why_not(backend.name, device, dtype, case) is not None:
                    continue
                checks = {"parity": lambda: _parity_check(operator, backend.name, device, dtype)}  # noqa: B023
                if dtype == torch.float32 and not quick:
                    checks["opcheck"] = lambda: _opcheck(operator, backend.name, device)  # noqa: B023
                for check, run in checks.items():
                    try:
                        passed, result = run()
                    except Exception as error:
                        passed, result = False, f"{type(error).__name__}: {str(error)[:200]}"
                    failures += not passed
                    state = "ok" if passed else "FAILED"
                    rows.append((backend.name, device, str(dtype)[6:], check, f"{state} {result}"))
    return rows, failures


def _parity_check(operator, backend: str, device: str, dtype: torch.dtype) -> tuple[bool, str]:
    errors = parity(operator, backend, device, dtype)
    worst = max(errors, key=lambda name: errors[name])
    return errors[worst] <= TOLERANCE[dtype], f"{errors[worst]:.1e} ({worst})"


def _opcheck(operator: Operator, backend: str, device: str) -> tuple[bool, str]:
    args = tuple(
        a.detach().requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a
        for a in operator.example(device, torch.float32)
    )
    with use_backend(backend):
        outcomes = torch.library.opcheck(_function(operator), args, raise_exception=False)
    failed = [name for name, outcome in outcomes.items() if outcome != "SUCCESS"]
    return not failed, ", ".join(failed) or f"{len(outcomes)} of {len(outcomes)}"


def _timings(operator: Operator) -> list[Row]:
    rows = []
    for device in _devices():
        dtype = torch.float32
        args, case = operator.example(device, dtype), operator.example_case(device, dtype)
        names = [
            b.name for b in operator.backends
            if operator.why_not(b.name, device, dtype, case) is None
            and not (b.name == "triton" and device == "cpu")  # its interpreter is slow
        ]  # fmt: skip
        best = dict.fromkeys(names, float("inf"))
        for _ in range(5):  # interleaved, so that a busy moment slows all of them
            for name in names:
                start = time.perf_counter()
                _run(operator, name, args)
                if device == "cuda":
                    torch.cuda.synchronize()
                best[name] = min(best[name], time.perf_counter() - start)
        for name, seconds in best.items():
            ratio = best["reference"] / seconds
            rows.append((device, "float32", name, f"{seconds * 1e3:.2f} ms", f"{ratio:.1f}"))
    return rows


def _table(head: Row, rows: Sequence[Row], log: Callable[[str], None]) -> None:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, tuple("-" * width for width in widths), *rows]:
        line = "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))
        log(line.rstrip())
    log("")
