"""Cases of ``benchmarks/ops.py``: one module per operator, with a function ``rows(device)``.

A row is one comparison: several contenders that compute the same from the same inputs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Results = Sequence[Tensor]
Contender = Callable[[], Results]


@dataclass
class Row:
    """One comparison.

    Args:
        op: Name of the operator, or of another subject.
        name: Name of the case: sizes, layout, forward or backward.
        setup: Function that makes the inputs and returns the contenders by name. A contender
            computes once and returns its results, which must agree between contenders. Ours is
            called "mmattn".
        goals: Speed-up over each contender that "mmattn" should reach.
        at_most: Largest slow-down against a contender that does less.
        tolerance: Largest allowed difference of results, relative to the largest value.
        comparable: Predicate of a contender's name: whether its results must agree; all by default.
    """

    op: str
    name: str
    setup: Callable[[], dict[str, Contender]]
    goals: dict[str, float] = field(default_factory=dict)
    at_most: dict[str, float] = field(default_factory=dict)
    tolerance: float = 1e-4
    comparable: Callable[[str], bool] = lambda name: True


def find_rows(device: str, ops: Sequence[str] = ()) -> list[Row]:
    """Return the rows of all modules in this folder, in the order of their names."""
    rows: list[Row] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        rows += importlib.import_module(f"{__name__}.{module}").rows(device)
    unknown = sorted(set(ops) - {row.op for row in rows})
    if unknown:
        known = ", ".join(sorted({row.op for row in rows}))
        raise SystemExit(f"unknown operators: {', '.join(unknown)}; choose from {known}")
    return [row for row in rows if not ops or row.op in ops]


def forward(function: Callable[..., Tensor], *args) -> Contender:
    """Return a contender that computes without gradients."""

    def run() -> Results:
        with torch.no_grad():
            return (function(*args),)

    return run


def forward_backward(
    function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor
) -> Contender:
    """A contender that computes a result and the gradients of its inputs."""
    leaves = [t.detach().requires_grad_() for t in inputs]

    def run() -> Results:
        result = function(*leaves)
        return (result.detach(), *torch.autograd.grad(result, leaves, grad))

    return run
