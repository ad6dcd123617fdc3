"""ELA: efficient local attention (Xu and Wan, arXiv:2403.01123).

The means of every row and of every column, mixed with those of their neighbours, scale their rows
and columns:

    z_h[c, y] = mean_x F[c, y, x];    z_w[c, x] = mean_y F[c, y, x]
    a_h = sigmoid(GN(conv(z_h)));     a_w = sigmoid(GN(conv(z_w)))
    F'[c, y, x] = F[c, y, x] a_h[c, y] a_w[c, x]                 (+ F[c, y, x] where residual)

In plain torch, with ``gate(strip) = gn(conv(strip)).sigmoid()``::

    a_h, a_w = gate(x.mean(3)), gate(x.mean(2))  # (N, C, H), (N, C, W)
    return x * a_h[:, :, :, None] * a_w[:, :, None, :]

conv and GN are one convolution (odd kernel k, no bias) and one group norm for both directions, so
that transposing the input transposes the output. The four versions:

    version   k   groups of conv   groups of GN   parameters
    T         5   C                32             7 C
    B         7   C                16             9 C
    S         5   C / 8            16             42 C
    L         7   C / 8            16             58 C

C / 8 groups are groups of 8 channels: S has more parameters than B.

Differs from the authors' code: half precision and autocast compute the gates in float32; a strip
of one value in a group of one channel is allowed. Their modules of the same name have other sizes
from file to file; the table above is the paper's.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mmattn.layers.checks import require_at_least
from mmattn.layers.precision import run_in_float32
from mmattn.ops import apply_gates, row_column_means
from mmattn.registry import MODELS


class Version(NamedTuple):
    """One row of the table of versions.

    Attributes:
        kernel_size: Kernel size of the convolution.
        width: Channels per group of the convolution.
        norm_groups: Groups of the group norm.
    """

    kernel_size: int
    width: int
    norm_groups: int


VERSIONS = {
    "T": Version(5, 1, 32),
    "B": Version(7, 1, 16),
    "S": Version(5, 8, 16),
    "L": Version(7, 8, 16),
}


@MODELS.register_module()
class ELA(nn.Module):
    """One gate per row and one per column; versions T, B, S, L.

    The group norm takes its statistics over a whole strip, so a gate depends on the size of the
    image, padding included, and slide inference differs from whole inference. A fresh module scales
    its input to about a third: in a pretrained network, ``residual=True`` disturbs less. Where the
    authors insert it in a ResNet::

        plugins=[dict(cfg=dict(type='mmattn.ELA', version='B', residual=True),
                      position='after_conv2')]

    Args:
        in_channels: Channels C of the input.
        version: ``'T'``, ``'B'``, ``'S'`` or ``'L'``. The authors recommend T and B for light
            networks, B and S for deeper ones, L for large ones.
        residual: Whether the input is added to the output, as in the authors' DeepLabV3 and YOLOF;
            their MobileNetV2 and YOLOX do not.
        fallback: What to do if C is not a multiple of the number of groups. None raises an error;
            ``'divisor'`` takes the largest divisor of C that is not larger.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: Unknown version or fallback, or a number of channels that does not divide.

    Example:
        >>> import torch
        >>> ELA(32, version="S")(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    usual_place: ClassVar[str] = "every residual block of a ResNet, at 'after_conv2'"

    variants: ClassVar[dict[str, dict[str, Any]]] = {name: {"version": name} for name in VERSIONS}

    def __init__(
        self,
        in_channels: int,
        *,
        version: str = "B",
        residual: bool = False,
        fallback: str | None = None,
    ):
        super().__init__()
        require_at_least(1, in_channels=in_channels)
        if version not in VERSIONS:
            raise ValueError(f"version must be one of {', '.join(VERSIONS)}, got {version!r}")
        if fallback not in (None, "divisor"):
            raise ValueError(f"fallback must be None or 'divisor', got {fallback!r}")
        conv_groups, norm_groups = _groups(in_channels, version, fallback)
        kernel_size = VERSIONS[version].kernel_size
        self.in_channels = in_channels
        self.version = version
        self.residual = residual
        self.conv = nn.Conv1d(
            in_channels,
            in_channels,
            kernel_size,
            padding=kernel_size // 2,
            groups=conv_groups,
            bias=False,
        )
        self.gn = _GroupNorm(norm_groups, in_channels)

    def forward(self, x: Tensor) -> Tensor:
        row, column = self.gates(x)
        return apply_gates(x, row=row, column=column, residual=self.residual)

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gates: ``"row"`` of shape (N, C, H, 1) and ``"column"`` of (N, C, 1, W)."""
        row, column = self.gates(x)
        return {"row": row[:, :, :, None], "column": column[:, :, None, :]}

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return a_h, of shape (N, C, H), and a_w, (N, C, W), at least float32."""
        rows, columns = row_column_means(x)
        # One convolution for both strips, with the zeros between them that it pads each end with:
        # of strips this short, starting it takes most of its time.
        gap = rows.new_zeros(*rows.shape[:2], VERSIONS[self.version].kernel_size // 2)
        mixed = run_in_float32(self.conv, torch.cat([rows, gap, columns], 2))
        lengths = (rows.shape[2], gap.shape[2], columns.shape[2])
        row, _, column = mixed.split(lengths, 2)
        row, column = run_in_float32(self.gn, row), run_in_float32(self.gn, column)
        return row.sigmoid(), column.sigmoid()

    def extra_repr(self) -> str:
        return f"in_channels={self.in_channels}, version={self.version!r}, residual={self.residual}"


class _GroupNorm(nn.GroupNorm):
    """A group norm that accepts groups of one value, which torch refuses, and returns the bias."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def _groups(channels: int, version: str, fallback: str | None) -> tuple[int, int]:
    """Return the number of groups of the convolution and of the norm."""
    width, wanted = VERSIONS[version].width, VERSIONS[version].norm_groups
    conv = _largest_divisor(channels, max(channels // width, 1))
    norm = _largest_divisor(channels, wanted)
    if fallback is None and not _fits(channels, version):
        others = " and ".join(f"version {name!r}" for name in VERSIONS if _fits(channels, name))
        raise ValueError(
            f"in_channels={channels} does not fit ELA-{version}, whose convolution has groups of "
            f"{width} and whose norm has {wanted} groups: it must be a multiple of both. "
            + (f"{others} would fit; " if others else "No version fits; ")
            + f"fallback='divisor' takes a convolution of {conv} and a norm of {norm} groups"
        )
    return conv, norm


def _fits(channels: int, version: str) -> bool:
    return channels % VERSIONS[version].width == 0 and channels % VERSIONS[version].norm_groups == 0


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(min(limit, number), 0, -1) if number % d == 0)
