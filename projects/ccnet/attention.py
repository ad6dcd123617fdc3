"""Criss-cross attention (Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721).

Each position gathers from the H + W - 1 positions of its row and column, itself counted once:

    A[u] = softmax_i(q[u] . k[i]),  i in row(u) + column(u)
    y[u] = gamma sum_i A[u, i] v[i] + x[u]

One application reaches a cross. Applied twice with the same weights (RCCA, R = 2) it connects every
pair of positions in O(HW (H + W)) instead of O((HW)^2).

Differs from the authors' code: half precision and autocast form the logits and the softmax in
float32; H = 1 and W = 1 are right; fewer than 8 channels still leave one channel for the query.
The paper's equation has no gamma; all code has it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn.ops import criss_cross_attention
from mmattn.registry import MODELS


@MODELS.register_module()
class CrissCrossAttention(nn.Module):
    """Recurrent criss-cross attention: (N, C, H, W) in, the same shape out.

    ``gamma`` starts at 0, so a fresh module is the identity and may be put into a pretrained
    network, for example as a plugin of mmdet's or mmseg's ResNet::

        plugins=[dict(cfg=dict(type='mmattn.CrissCrossAttention', recurrence=2),
                      stages=(False, False, True, False), position='after_conv3')]

    Loads the authors' weights (``gamma`` of shape (1,), as here) and those of mmcv's module
    (``gamma.scale`` of shape ()).

    Args:
        in_channels: Channels C of the input.
        reduction: Query and key have C // reduction channels, at least 1; 8 in the paper.
        recurrence: How often attention is applied, R in the paper. 0 is the identity.

    Example:
        >>> import torch
        >>> CrissCrossAttention(16)(torch.ones(2, 16, 5, 7)).shape
        torch.Size([2, 16, 5, 7])
    """

    def __init__(self, in_channels: int, *, reduction: int = 8, recurrence: int = 1):
        super().__init__()
        if in_channels < 1 or reduction < 1:
            raise ValueError(
                f"in_channels and reduction must be at least 1, got {in_channels} and {reduction}"
            )
        if recurrence < 0:
            raise ValueError(f"recurrence must not be negative, got {recurrence}")
        self.in_channels = in_channels
        self.recurrence = recurrence
        query_channels = max(in_channels // reduction, 1)
        self.query_conv = nn.Conv2d(in_channels, query_channels, 1)
        self.key_conv = nn.Conv2d(in_channels, query_channels, 1)
        self.value_conv = nn.Conv2d(in_channels, in_channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.register_load_state_dict_pre_hook(_accept_mmcv_gamma)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.recurrence):
            gathered = criss_cross_attention(
                self.query_conv(x), self.key_conv(x), self.value_conv(x)
            )
            # A gamma without dimensions leaves the dtype to the features.
            x = x + self.gamma.squeeze() * gathered
        return x

    def extra_repr(self) -> str:
        return f"in_channels={self.in_channels}, recurrence={self.recurrence}"


def _accept_mmcv_gamma(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    """Rename mmcv's ``gamma.scale``, a scalar, to the authors' ``gamma``, one element."""
    scale = state_dict.pop(f"{prefix}gamma.scale", None)
    if scale is not None:
        state_dict[f"{prefix}gamma"] = scale.reshape(1)
