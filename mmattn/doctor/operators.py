"""Operators: which backend serves each, why not the others, and whether it computes right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmattn.environment import backends
from mmattn.ops.doctor import Finding as Found
from mmattn.ops.doctor import find_out

from .findings import Finding


def operators(*, check: bool) -> Iterator[Finding]:
    """Describe the operators.

    Args:
        check: Whether each backend is compared with the reference in float64; one that computes
            otherwise is broken.
    """
    for name, value in backends().items():
        if name in ("mmcv's operators", "C++ compiler", "onnxruntime providers"):
            yield Finding(name, value)
    for found in find_out(checks=check):
        failed = [row for row in found.checks if not row[-1].startswith("ok")]
        notes = [f"not {backend}: {state}" for backend, state in found.states if state != "present"]
        if failed:
            notes = [" ".join(row) for row in failed]
        elif check:
            notes = [f"{len(found.checks)} checks ok", *notes]
        yield Finding(found.name, _served(found), "; ".join(notes), broken=bool(failed))


def _served(found: Found) -> str:
    """Return the backends that serve float32 on each device that is there."""
    rows: Sequence[Sequence[str]] = found.choices
    parts = [f"{backend} on {device}" for device, dtype, backend, _ in rows if dtype == "float32"]
    return ", ".join(parts)
