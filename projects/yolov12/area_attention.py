"""Area attention, A2 (YOLOv12, Tian, Ye and Doermann, arXiv:2502.12524).

The H W positions, row by row, are cut into L pieces of equal length, the areas; positions attend
within their own. With heads of d channels, and pe a depthwise convolution over the whole map,

    A = softmax(q k^T / sqrt(d))        in each area and head
    y = x + P(A v + pe(v))

where q, k, v and P are 1x1 convolutions with batch norm. If L divides H, areas are horizontal
strips; at 640 x 640 each of the network's has 400 positions, at stride 16 (L = 4) as at stride 32
(L = 1).

In plain torch, with ``weights`` of shape (N, heads, H W, H W), zero across areas::

    out = weights @ v

Two layouts, the same function after a permutation of the channels: ``turbo`` has one convolution
for q and k and one for v, and a 5x5 pe; ``v1.0``, the paper's, has one for all, whose channels are
q, k, v of the first head, then those of the second, and a 7x7 pe.

Differs from the authors' code: if L does not divide H W, areas have ceil(H W / L) positions and the
last ones fewer or none (theirs fails); attention runs in the precision of autocast (theirs in
float16 always).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.errors import ConfigError, did_you_mean
from mmattn.layers.checks import require_at_least, require_odd
from mmattn.layers.folding import concatenate
from mmattn.registry import MODELS

from .conv_blocks import Conv

#: Layout -> side of the kernel of pe.
LAYOUTS = {"turbo": 5, "v1.0": 7}


def area_attention(q: Tensor, k: Tensor, v: Tensor, areas: int) -> Tensor:
    """Attend within areas; no copy if each of q, k and v is a view of channels-last feature maps.

    Args:
        q: Queries. Shape (N, positions, heads, d).
        k: Keys, of the same shape.
        v: Values, of the same shape.
        areas: Number L of areas, of ceil(positions / L) positions each as far as they last.

    Returns:
        (N, positions, heads, d)
    """
    n, positions, heads, channels = q.shape
    # An exported graph with free sizes has one form for all of them.
    whole = _is_known(positions) and positions % areas == 0
    length = (positions + areas - 1) // areas  # of an area
    mask = None
    if not whole:
        padding = areas * length - positions
        q, k, v = (F.pad(x, (0, 0, 0, 0, 0, padding)) for x in (q, k, v))
        real = (torch.arange(areas * length, device=q.device) < positions).view(areas, 1, length)
        # Padded queries, whose results are cut off, attend to all: no softmax is over nothing.
        mask = (real | ~real.transpose(1, 2)).repeat(n, 1, 1).unsqueeze(1)
    q, k, v = (
        _with_neighbouring_channels(x.reshape(n * areas, length, heads, channels)).transpose(1, 2)
        for x in (q, k, v)
    )
    out = F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2)
    return out.reshape(n, areas * length, heads, channels)[:, :positions]


def area_attention_weights(q: Tensor, k: Tensor, areas: int) -> Tensor:
    """Return every position's weights of all positions, zero outside its area.

    The oracle of ``area_attention``, which is these times v; memory grows with positions^2.

    Args:
        q: Queries. Shape (N, positions, heads, d).
        k: Keys, of the same shape.
        areas: Number L of areas.

    Returns:
        (N, heads, positions, positions), float32 at least; rows sum to 1.
    """
    positions, channels = q.shape[1], q.shape[3]
    length = (positions + areas - 1) // areas
    area = torch.arange(positions, device=q.device) // length
    q, k = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k))
    logits = torch.einsum("nqhd,nkhd->nhqk", q, k) / math.sqrt(channels)
    return logits.masked_fill(area[:, None] != area[None, :], -math.inf).softmax(-1)


def _with_neighbouring_channels(x: Tensor) -> Tensor:
    """Return ``x`` with its last dimension contiguous, without which torch has no fused form."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _is_known(size: int | torch.SymInt) -> bool:
    """Return whether a size is a number of the graph that is being exported, or none is."""
    return not torch.compiler.is_exporting() or isinstance(size, int)


class _AttentionOfViews(nn.Module):
    """Base class of all layouts, which say how q, k and v lie in the channels."""

    areas: int
    num_heads: int
    head_channels: int
    shortcut: bool
    q_norm: nn.Module
    k_norm: nn.Module
    pe: nn.Module
    proj: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.queries_keys_values(x)
        n, channels, height, width = x.shape
        out = area_attention(q, k, v, self.areas).reshape(n, height, width, channels)
        values = v.reshape(n, height, width, channels).permute(0, 3, 1, 2)
        y = self.proj(out.permute(0, 3, 1, 2) + self.pe(values))
        return x + y if self.shortcut else y

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v of shape (N, H W, heads, d)."""
        q, k, v = self._split(x)
        return _normalised(q, self.q_norm), _normalised(k, self.k_norm), v

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return ``"area"``: weights that each of H W queries has for a position, mean of heads.

        Shape (N, H W, H, W).
        """
        q, k, _ = self.queries_keys_values(x)
        weights = area_attention_weights(q, k, self.areas).mean(1)
        return {"area": weights.unflatten(2, tuple(x.shape[2:]))}

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError


def _per_position(y: Tensor, *shape: int) -> Tensor:
    """(N, C, H, W) to (N, H W, *shape): a view if ``y`` is in channels-last layout."""
    n, _, height, width = y.shape
    return y.permute(0, 2, 3, 1).reshape(n, height * width, *shape)


def _normalised(x: Tensor, norm: nn.Module) -> Tensor:
    """Apply the norm of q or k in the precision of ``x``; its sums are float32 at least."""
    if not isinstance(norm, nn.RMSNorm):
        return x
    return F.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.eps)


@MODELS.register_module()
class AreaAttention(_AttentionOfViews):
    """Attention of every position to the positions of its area.

    As a plugin of mmdet's or mmseg's ResNet::

        plugins=[dict(cfg=dict(type='mmattn.AreaAttention', areas=4),
                      stages=(False, False, True, False), position='after_conv3')]

    Args:
        in_channels: Channels C, a multiple of ``head_channels``.
        areas: Number L of areas; 1 is attention over the whole map.
        head_channels: Channels d of a head.
        layout: ``"turbo"`` or ``"v1.0"``, the layouts above.
        pe_kernel_size: Side of pe's kernel; by default the layout's.
        qk_norm: Whether q and k are normalised to a root mean square of 1, with a learnt scale for
            each of the d channels, which bounds the logits; not in the paper.
        shortcut: Whether x is added, as in the network.
        norm_cfg: Config of the batch norms.

    Raises:
        ConfigError: ``layout`` is not one of them.
        ValueError: ``in_channels`` is no multiple of ``head_channels``, or a number is less than 1.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> AreaAttention(64).eval()(torch.ones(2, 64, 5, 7)).shape
        torch.Size([2, 64, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "YOLOv12's backbone, in R-ELAN: areas=4 at stride 16, areas=1 at stride 32"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        areas: int = 4,
        head_channels: int = 32,
        layout: str = "turbo",
        pe_kernel_size: int | None = None,
        qk_norm: bool = False,
        shortcut: bool = True,
        norm_cfg: dict | None = None,
    ):
        super().__init__()
        require_at_least(1, in_channels=in_channels, areas=areas, head_channels=head_channels)
        if in_channels % head_channels:
            raise ValueError(
                f"in_channels must be a multiple of head_channels, got {in_channels} and "
                f"{head_channels}"
            )
        if layout not in LAYOUTS:
            known = ", ".join(map(repr, LAYOUTS))
            raise ConfigError(
                f"layout must be one of {known}, got {layout!r}.{did_you_mean(layout, LAYOUTS)}"
            )
        kernel_size = LAYOUTS[layout] if pe_kernel_size is None else pe_kernel_size
        require_odd(pe_kernel_size=kernel_size)
        self.areas = areas
        self.num_heads = in_channels // head_channels
        self.head_channels = head_channels
        self.layout = layout
        self.shortcut = shortcut
        linear: dict[str, Any] = {"activation": False, "norm_cfg": norm_cfg}
        if layout == "turbo":
            self.qk = Conv(in_channels, 2 * in_channels, **linear)
            self.v = Conv(in_channels, in_channels, **linear)
        else:
            self.qkv = Conv(in_channels, 3 * in_channels, **linear)
        self.pe = Conv(in_channels, in_channels, kernel_size, groups=in_channels, **linear)
        self.proj = Conv(in_channels, in_channels, **linear)
        self.q_norm = nn.RMSNorm(head_channels, eps=1e-6) if qk_norm else nn.Identity()
        self.k_norm = nn.RMSNorm(head_channels, eps=1e-6) if qk_norm else nn.Identity()
        self.init_weights()

    def init_weights(self) -> None:
        """Set the initial state; mmengine calls this method when it initialises a network."""
        init_attention_weights(self)

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        heads, channels = self.num_heads, self.head_channels
        if self.layout == "turbo":
            q, k = _per_position(self.qk(x), 2, heads, channels).unbind(2)
            return q, k, _per_position(self.v(x), heads, channels)
        return _per_position(self.qkv(x), heads, 3, channels).unbind(3)

    def fused(self) -> nn.Module:
        if self.layout == "turbo":
            qkv = concatenate([self.qk.folded(), self.v.folded()])
        else:
            qkv = self.qkv.folded()
            order = turbo_order(self.num_heads, self.head_channels)
            for parameter in qkv.parameters():
                parameter.data = parameter.data[order]
        return FusedAreaAttention(self, qkv)


class FusedAreaAttention(_AttentionOfViews):
    """``AreaAttention`` in the fused model: one product for q, k and v, no norms.

    Args:
        attention: Module to take the rest from.
        qkv: Convolution to all q, then all k, then all v.
    """

    def __init__(self, attention: AreaAttention, qkv: nn.Conv2d):
        super().__init__()
        self.areas, self.num_heads = attention.areas, attention.num_heads
        self.head_channels, self.shortcut = attention.head_channels, attention.shortcut
        self.qkv = qkv
        for name in ("pe", "proj"):
            part = getattr(attention, name)
            setattr(self, name, part.folded() if isinstance(part, Conv) else part)
        self.q_norm, self.k_norm = attention.q_norm, attention.k_norm

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return _per_position(self.qkv(x), 3, self.num_heads, self.head_channels).unbind(2)


def turbo_order(heads: int, channels: int) -> Tensor:
    """Return the rows of v1.0's convolution for q, k and v in the order of turbo's two.

    Args:
        heads: Number of heads.
        channels: Channels d of a head.

    Returns:
        (3 heads d,), row numbers: all q, head by head, then all k, then all v.
    """
    rows = torch.arange(3 * heads * channels).view(heads, 3, channels)
    return rows.transpose(0, 1).flatten()


def init_attention_weights(module: nn.Module) -> None:
    """Draw all convolutions in ``module`` from N(0, 0.02^2), as the authors do; reset the norms."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.trunc_normal_(part.weight, std=0.02)
        elif isinstance(part, nn.modules.batchnorm._BatchNorm | nn.RMSNorm):
            part.reset_parameters()
