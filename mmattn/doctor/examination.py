"""The whole examination, subject by subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .findings import Finding, Section


def examine(*, check: bool = False) -> list[Section]:
    """Examine this installation.

    A subject that cannot be examined, because a package is missing or broken, is a broken finding
    itself, and the others follow all the same.

    Args:
        check: Compare what the operators compute with their reference, which takes some seconds.
    """
    from . import packages

    subjects: dict[str, Callable[[], Iterable[Finding]]] = {
        "needed packages": packages.needed_packages,
        "machine": lambda: _machine("hardware"),
        "operators": lambda: _operators(check),
        "optional packages": packages.optional_packages,
        "loggers of curves": packages.loggers,
        "folders": lambda: _machine("folders"),
        "environment variables": lambda: _machine("variables"),
    }
    return [Section(title, _findings(title, find)) for title, find in subjects.items()]


def _findings(title: str, find: Callable[[], Iterable[Finding]]) -> list[Finding]:
    from mmattn.errors import one_line

    try:
        return list(find())
    except Exception as error:  # such as an import that fails
        return [Finding(title, f"cannot be examined: {one_line(error)[:300]}", broken=True)]


def _machine(subject: str) -> Iterable[Finding]:
    from . import machine  # needs torch, which may be what is broken

    return getattr(machine, subject)()


def _operators(check: bool) -> Iterable[Finding]:
    from .operators import operators

    return operators(check=check)
