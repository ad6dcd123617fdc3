"""The doctor's report on one screen: a row for each operator, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Row = tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """Backends, choices, checks and times of one operator.

    Attributes:
        name: Name of the operator.
        states: (backend, "present" or why it is missing).
        choices: (device, dtype, backend that serves it, why not the others).
        checks: (backend, device, dtype, check, result), which begins with "ok" or "FAILED".
        timings: (device, dtype, backend, time, speed relative to the reference); may be empty.
    """

    name: str
    states: Sequence[Row]
    choices: Sequence[Row]
    checks: Sequence[Row]
    timings: Sequence[Row]


def screen(findings: Sequence[Finding]) -> list[str]:
    """Return the lines of the report: a table, then each failed check and what is missing."""
    head: Row = ("operator", "CPU runs", "GPU runs", "checks", "fastest")
    rows = [_row(finding) for finding in findings]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    ]
    for finding in findings:
        for backend, device, dtype, check, result in finding.checks:
            if result.startswith("FAILED"):
                lines.append(f"{finding.name}, {backend}, {device}, {dtype}, {check}: {result}")
    return [*lines, *_missing(findings)]


def _row(finding: Finding) -> Row:
    passed = sum(row[-1].startswith("ok") for row in finding.checks)
    total = len(finding.checks)
    checks = f"{total} ok" if passed == total else f"{total - passed} of {total} failed"
    runs = (_served(finding.choices, device) for device in ("cpu", "cuda"))
    return (finding.name, *runs, checks, _fastest(finding.timings))


def _served(choices: Sequence[Row], device: str) -> str:
    by_backend: dict[str, list[str]] = {}
    for found, dtype, backend, _ in choices:
        if found == device:
            by_backend.setdefault(backend, []).append(dtype)
    if len(by_backend) == 1:
        return next(iter(by_backend))
    return ", ".join(f"{backend} ({', '.join(dtypes)})" for backend, dtypes in by_backend.items())


def _fastest(timings: Sequence[Row]) -> str:
    others = [(float(row[4]), row[2], row[0]) for row in timings if row[2] != "reference"]
    if not others:
        return "-" if not timings else "plain torch alone"
    ratio, backend, device = max(others)
    return f"{backend} on {device}, {ratio:.1f} x plain torch"


def _missing(findings: Sequence[Finding]) -> list[str]:
    """Return a line for each backend and reason: which operators lack it."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        for backend, state in finding.states:
            if state != "present":
                reasons.setdefault((backend, state), []).append(finding.name)
    return [
        f"{backend} of {_listed(names, len(findings))}: {reason}"
        for (backend, reason), names in reasons.items()
    ]


def _listed(names: Sequence[str], total: int) -> str:
    if len(names) == total:
        return "all operators" if total > 1 else names[0]
    if len(names) <= 3:
        return ", ".join(names)
    return f"{len(names)} operators"
