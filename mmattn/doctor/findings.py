"""What the doctor found: facts by subject, each of which may be a fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One fact.

    Attributes:
        name: What it is about.
        value: How it is.
        note: What it is for, why it is so, or how to change it.
        broken: Whether something that is needed does not work.
    """

    name: str
    value: str
    note: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Section:
    """Facts on one subject.

    Attributes:
        title: The subject.
        findings: The facts, in the order of a table.
    """

    title: str
    findings: Sequence[Finding]
