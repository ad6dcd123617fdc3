"""The explicit form of attention: softmax of q k^T, in float32 at least."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wide_of(*tensors: Tensor) -> list[Tensor]:
    """Tensors in float32 at least."""
    return [x.to(torch.promote_types(x.dtype, torch.float32)) for x in tensors]


def softmax_qk(q: Tensor, k: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
    """softmax(scale q k^T + mask), (..., Nq, Nk); a boolean mask is True where keys take part."""
    q, k = wide_of(q, k)
    logits = scale * (q @ k.mT)
    if mask is not None:
        if mask.dtype == torch.bool:
            logits = logits.masked_fill(~mask, -math.inf)
        else:
            logits = logits + mask.to(logits.dtype)
    return logits.softmax(-1)
