"""Criss-cross attention in plain torch: the oracle, and the path that exports."""

from __future__ import annotations

import torch
from torch import Tensor


def criss_cross_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """See ``mmattn.ops.criss_cross_attention``; the inputs share one dtype, float32 or
    float64.

    Rows and columns are two batches of small matrix products over channels-last tensors. Both are
    shifted by the largest logit of row and column together, so that

        y[u] = (sum_row e v + sum_col e v) / (sum_row e + sum_col e)

    is one softmax over the joint set. The column leaves out its own position, which the row counts:
    its weight is set to zero after the exponential. So no logit is ever infinite, not even where
    H = 1 empties the column, and the shift stays right, because the row holds the same logit.
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
    position = torch.arange(column.shape[-1], device=column.device)
    itself = position[:, None] == position  # (H, H)
    row = (row - shift).exp()
    column = (column - shift.transpose(1, 2)).exp().masked_fill(itself, 0.0)

    total = row.sum(-1, keepdim=True) + column.sum(-1, keepdim=True).transpose(1, 2)
    out = (row @ v + (column @ v_t).transpose(1, 2)) / total  # (N, H, W, C)
    return out.permute(0, 3, 1, 2)
