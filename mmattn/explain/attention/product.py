"""The explicit form of attention: softmax of q k^T, in float32 at least."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_FACTORS: ContextVar[Tensor | None] = ContextVar("factors of heads", default=None)


@contextmanager
def heads_times(factors: Tensor) -> Iterator[None]:
    """Multiply what each head of the layers inside puts out, before the output projection.

    Args:
        factors: (heads,)
    """
    token = _FACTORS.set(factors)
    try:
        yield
    finally:
        _FACTORS.reset(token)


def per_head(weights: Tensor, dim: int) -> Tensor:
    """Return weights times the factors of ``heads_times``: O = A V is linear in A."""
    factors = _FACTORS.get()
    if factors is None:
        return weights
    shape = [1] * weights.dim()
    shape[dim] = -1
    return weights * factors.to(weights).view(shape)


def wide_of(*tensors: Tensor) -> list[Tensor]:
    """Tensors in float32 at least."""
    return [x.to(torch.promote_types(x.dtype, torch.float32)) for x in tensors]


def softmax_qk(q: Tensor, k: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
    """Return softmax(scale q k^T + mask), (..., heads, Nq, Nk).

    A boolean mask is True where keys take part.
    """
    q, k = wide_of(q, k)
    logits = scale * (q @ k.mT)
    if mask is not None:
        if mask.dtype == torch.bool:
            logits = logits.masked_fill(~mask, -math.inf)
        else:
            logits = logits + mask.to(logits.dtype)
    return per_head(logits.softmax(-1), -3)
