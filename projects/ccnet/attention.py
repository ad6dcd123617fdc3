"""Criss-cross attention (Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721).

Each position gathers from the H + W - 1 positions of its row and column, itself counted once:

    A[u] = softmax_i(q[u] . k[i]),  i in row(u) + column(u)
    y[u] = gamma sum_i A[u, i] v[i] + x[u]

In plain torch, with ``weights`` of shape (N, H W, H W), zero off the row and the column::

    gathered = (value.flatten(2) @ weights.transpose(1, 2)).view_as(x)
    return x + gamma * gathered

One application reaches a cross. Applied twice with the same weights (RCCA, R = 2) it connects every
pair of positions in O(HW (H + W)) instead of O((HW)^2).

Differs from the authors' code: half precision and autocast form the logits and the softmax in
float32; H = 1 and W = 1 are right; fewer than 8 channels still leave one channel for the query.
The paper's equation has no gamma; all code has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmattn.layers.checks import require_at_least
from mmattn.ops import criss_cross_attention, criss_cross_weights
from mmattn.registry import MODELS


@MODELS.register_module()
class CrissCrossAttention(nn.Module):
    """Attention of every position to its row and its column.

    ``gamma`` starts at 0, so a fresh module is the identity and can be inserted into a pretrained
    network, for example as a plugin of mmdet's or mmseg's ResNet::

        plugins=[dict(cfg=dict(type='mmattn.CrissCrossAttention', recurrence=2),
                      stages=(False, False, True, False), position='after_conv3')]

    Loads the authors' weights (``gamma`` of shape (1,), as here) and those of mmcv's module
    (``gamma.scale`` of shape ()).

    Args:
        in_channels: Channels C of the input.
        reduction: Query and key have C // reduction channels, at least 1; 8 in the paper.
        recurrence: How often attention is applied, R in the paper. 0 is the identity.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> CrissCrossAttention(16)(torch.ones(2, 16, 5, 7)).shape
        torch.Size([2, 16, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "a decode head on the last feature map, twice with the same weights, between two 3 x 3 "
        "convolutions (mmattn.CCHead)"
    )

    def __init__(self, in_channels: int, *, reduction: int = 8, recurrence: int = 1):
        super().__init__()
        require_at_least(1, in_channels=in_channels, reduction=reduction)
        require_at_least(0, recurrence=recurrence)
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
            x = self._attend(x, self.query_conv(x), self.key_conv(x))
        return x

    def _attend(self, x: Tensor, query: Tensor, key: Tensor) -> Tensor:
        gathered = criss_cross_attention(query, key, self.value_conv(x))
        # A gamma without dimensions leaves the dtype to the features.
        return x + self.gamma.squeeze() * gathered

    def attention_maps(
        self, x: Tensor, positions: Sequence[Sequence[int]] | None = None
    ) -> dict[str, Tensor]:
        """Return how much some positions attend to every other one, by application.

        Args:
            x: Feature map. Shape (N, C, H, W).
            positions: Row and column of P positions; None takes the centre alone.

        Returns:
            ``"step1"`` to ``"stepR"``, each of shape (N, P, H, W): zero off a position's row and
            column, with sum 1.
        """
        if positions is None:
            positions = [(x.shape[2] // 2, x.shape[3] // 2)]
        maps = {}
        for step in range(1, self.recurrence + 1):
            query, key = self.query_conv(x), self.key_conv(x)
            maps[f"step{step}"] = criss_cross_weights(query, key, positions)
            x = self._attend(x, query, key)
        return maps

    def extra_repr(self) -> str:
        return f"in_channels={self.in_channels}, recurrence={self.recurrence}"


def _accept_mmcv_gamma(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    """Rename mmcv's ``gamma.scale``, a scalar, to the authors' ``gamma``, one element."""
    scale = state_dict.pop(f"{prefix}gamma.scale", None)
    if scale is not None:
        state_dict[f"{prefix}gamma"] = scale.reshape(1)
