"""Attention with a bias for every query and key."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.ops import is_exporting


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v, as ``F.scaled_dot_product_attention``.

    Where torch has no fused form on a CPU (the bias needs a gradient, or the numbers of a key are
    no neighbours in memory), its function also looks for rows of -inf alone, which takes as long as
    the softmax. There are none here, so the plain products are taken.

    Args:
        q: Queries. Shape (…, L, d).
        k: Keys. Shape (…, S, d).
        v: Values. Shape (…, S, d).
        bias: Finite, in the dtype of ``q``, for shapes (…, L, S); None for none.

    Returns:
        (…, L, d)

    Example:
        >>> ones = torch.ones(1, 2, 4)
        >>> attend(ones, ones, ones, torch.zeros(2, 2)).shape
        torch.Size([1, 2, 4])
    """
    if bias is not None and bias.dim() == q.dim() - 1:
        bias = bias.unsqueeze(0)  # the fused form takes two or four dimensions
    if _has_fused_form(q, k, v, bias):
        return F.scaled_dot_product_attention(q, k, v, bias)
    logits = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)
    return (logits if bias is None else logits + bias).softmax(-1) @ v


def _has_fused_form(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> bool:
    """Return whether torch has one, or is to decide for itself."""
    if not q.is_cpu or q.dtype not in (torch.float32, torch.float64):
        return True  # in half precision the sums have to be float32
    if torch.compiler.is_compiling() or is_exporting():
        return True
    learnt = bias is not None and bias.requires_grad and torch.is_grad_enabled()
    return not learnt and all(t.stride(-1) == 1 for t in (q, k, v))
