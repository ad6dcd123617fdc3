"""Criss-cross attention in plain torch: the oracle, the path that exports, and the fallback.

Rows and columns are two batches of small matrix products over channels-last tensors, one product
for the logits and one for the values. Nothing is concatenated, and a column of H keys leaves out
the position itself, which the row counts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .._layout import to_channels_last
from .._precision import accumulate_dtype, autocast_off


def attend(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return output (N, C, H, W) and log-sum-exp (N, H, W), differentiable any number of times.

    The inputs share one dtype, float32 or float64. Rows and columns are both shifted by the largest
    logit of row and column together, so that

        y[u] = (sum_row e v + sum_col e v) / (sum_row e + sum_col e)

    is one softmax over the joint set. No shift is infinite, not even where H = 1 empties the
    column, and it stays right without the column's own position: the row holds the same logit.
    """
    q, k, v = (t.permute(0, 2, 3, 1).contiguous() for t in (query, key, value))  # (N, H, W, C)
    q_t, k_t, v_t = (t.transpose(1, 2) for t in (q, k, v))  # (N, W, H, C)
    row = q @ k.transpose(2, 3)  # (N, H, W, W)
    column = q_t @ k_t.transpose(2, 3)  # (N, W, H, H)

    # The result does not depend on the shift, so no gradient has to pass through it.
    shift = torch.maximum(
        row.detach().amax(-1, keepdim=True),
        column.detach().amax(-1, keepdim=True).transpose(1, 2),
    )  # (N, H, W, 1)
    column = column.masked_fill_(_itself(column), torch.finfo(column.dtype).min)
    row = row.sub_(shift).exp_()
    column = column.sub_(shift.transpose(1, 2)).exp_()

    total = row.sum(-1, keepdim=True) + column.sum(-1, keepdim=True).transpose(1, 2)
    out = (row @ v).add_((column @ v_t).transpose(1, 2)).mul_(total.reciprocal())
    return out.permute(0, 3, 1, 2), (shift + total.log()).squeeze(-1)


def forward(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return output and log-sum-exp; see ``mmattn.ops.criss_cross_attention``."""
    dtype = accumulate_dtype(value.dtype)
    with autocast_off(value.device.type):
        out, lse = attend(query.to(dtype), key.to(dtype), value.to(dtype))
    return to_channels_last(out.to(value.dtype)), lse


def backward(
    grad: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value.

    With the weights P = exp(q k^T - lse) computed once more and D = sum_c grad out - grad_lse,

        dV = P^T grad,  dS = P (grad V^T - D),  dQ = dS K,  dK = dS^T Q

    hold for the row and for the column alone, because both share lse and D; they are added.
    """
    dtype = lse.dtype
    with autocast_off(grad.device.type):
        q, k, v, o, g = (
            t.permute(0, 2, 3, 1).to(dtype).contiguous() for t in (query, key, value, out, grad)
        )
        shift = lse.unsqueeze(-1)
        delta = (g * o).sum(-1, keepdim=True)
        if grad_lse is not None:
            delta -= grad_lse.unsqueeze(-1)
        grads = _backward_of_lines(q, k, v, g, shift, delta, itself=True)
        columns = (t.transpose(1, 2) for t in (q, k, v, g, shift, delta))
        for total, part in zip(grads, _backward_of_lines(*columns, itself=False), strict=True):
            total.add_(part.transpose(1, 2))
    grad_query, grad_key, grad_value = (
        to_channels_last(t.permute(0, 3, 1, 2).to(like.dtype))
        for t, like in zip(grads, (query, key, value), strict=True)
    )
    return grad_query, grad_key, grad_value


def _backward_of_lines(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, lse: Tensor, delta: Tensor, *, itself: bool
) -> tuple[Tensor, Tensor, Tensor]:
    weights = (q @ k.transpose(2, 3)).sub_(lse).exp_()
    if not itself:
        weights.masked_fill_(_itself(weights), 0.0)
    grad_logits = (g @ v.transpose(2, 3)).sub_(delta).mul_(weights)
    return grad_logits @ k, grad_logits.transpose(2, 3) @ q, weights.transpose(2, 3) @ g


def _itself(square: Tensor) -> Tensor:
    position = torch.arange(square.shape[-1], device=square.device)
    return position[:, None] == position
