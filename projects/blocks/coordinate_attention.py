"""Coordinate attention (Hou et al., CVPR 2021, arXiv:2103.02907).

The means of every row and of every column share one bottleneck, then scale their rows and columns:

    z_h[c, y] = mean_x F[c, y, x];    z_w[c, x] = mean_y F[c, y, x]
    [f_h, f_w] = hardswish(BN(W1 [z_h, z_w]))        over the H + W strips, one after another
    F'[c, y, x] = F[c, y, x] sigmoid(W_h f_h)[c, y] sigmoid(W_w f_w)[c, x]

In plain torch, with ``gate_h`` of shape (N, C, H, 1) and ``gate_w`` of shape (N, C, 1, W)::

    gate_h, gate_w = conv_h(f_h).sigmoid(), conv_w(f_w).sigmoid()
    return x * gate_h * gate_w

W1 narrows C channels to max(8, C / r), r = 32. The gates keep the position along one axis, which
the single gate per channel of squeeze-and-excitation loses.

Differs from the authors' code: half precision and autocast compute the gates in float32. As there,
the batch norm sees the strips of both directions as one batch: it is not run twice.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least
from mmattn.layers.precision import run_in_float32
from mmattn.ops import apply_gates, row_column_means
from mmattn.registry import MODELS

_MIN_HIDDEN = 8


@MODELS.register_module()
class CoordAtt(nn.Module):
    """One gate per row and one per column, through a shared bottleneck.

    If ``conv_h`` and ``conv_w`` are zero, both gates are 1/2 and the output is a quarter of the
    input. Transposing the input and exchanging ``conv_h`` and ``conv_w`` transposes the output.
    Loads the authors' weights and those of timm's ``CoordAttn(bias=True)``, given its hidden width.

    Args:
        in_channels: Channels C of the input.
        reduction: r in the paper; max(8, C // r) hidden channels.
        hidden_channels: Number of hidden channels, in place of ``reduction``.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> CoordAtt(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the inverted residuals of a MobileNetV2 that expand, after the depthwise convolution"
    )

    def __init__(
        self, in_channels: int, *, reduction: int = 32, hidden_channels: int | None = None
    ):
        super().__init__()
        require_at_least(
            1, in_channels=in_channels, reduction=reduction, hidden_channels=hidden_channels
        )
        if hidden_channels is None:
            hidden_channels = max(in_channels // reduction, _MIN_HIDDEN)
        self.in_channels = in_channels
        self.conv1 = nn.Conv2d(in_channels, hidden_channels, 1)
        self.bn1 = nn.BatchNorm2d(hidden_channels)
        self.conv_h = nn.Conv2d(hidden_channels, in_channels, 1)
        self.conv_w = nn.Conv2d(hidden_channels, in_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        row, column = self.gates(x)
        return apply_gates(x, row=row, column=column)

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gates of rows, (N, C, H), and of columns, (N, C, W), at least float32."""
        strips = torch.cat(row_column_means(x), 2).unsqueeze(3)  # (N, C, H + W, 1)
        f = run_in_float32(self.bn1, run_in_float32(self.conv1, strips))  # (N, C / r, H + W, 1)
        f_h, f_w = F.hardswish(f).split([x.shape[2], x.shape[3]], 2)
        gate_h = run_in_float32(self.conv_h, f_h).sigmoid().squeeze(3)  # (N, C, H)
        gate_w = run_in_float32(self.conv_w, f_w).sigmoid().squeeze(3)  # (N, C, W)
        return gate_h, gate_w

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gates: ``"row"`` of shape (N, C, H, 1) and ``"column"`` of (N, C, 1, W)."""
        row, column = self.gates(x)
        return {"row": row[:, :, :, None], "column": column[:, :, None, :]}
