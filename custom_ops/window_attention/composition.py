"""Window attention by torch's ``scaled_dot_product_attention``, where there is no kernel of ours.

Bias and mask of regions become one additive mask. The batch is broadcast, so that the mask does
not grow with it: (1, windows x heads, n, n) where the map is rolled, (1, heads, n, n) else.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from .._precision import autocast_off
from .reference import cut, join, region_mask, split_heads


def forward(
    qkv: Tensor,
    bias: Tensor,
    pad: Tensor | None,
    window: Sequence[int],
    shift: Sequence[int],
    pad_first: bool,
    scale: float,
) -> Tensor:
    """Return the output (N, H, W, C); see ``mmattn.ops.window_attention``."""
    q, k, v = split_heads(cut(qkv, pad, window, shift, pad_first), bias.shape[0])
    images, windows, heads, n, _ = q.shape
    mask = bias
    if any(shift):
        mask = mask + region_mask(qkv.shape[1:3], window, shift, bias)[:, None]
        shape = (images, windows * heads)
    else:
        shape = (images * windows, heads)
    mask = _aligned(mask.reshape(1, -1, n, n).to(q.dtype))
    with autocast_off(qkv.device.type):
        out = F.scaled_dot_product_attention(
            *(t.reshape(*shape, n, t.shape[-1]) for t in (q, k, v)),
            attn_mask=mask.expand(shape[0], -1, -1, -1),
            scale=scale,
        )
    out = out.reshape(images, windows, heads, n, -1).transpose(2, 3).flatten(3)
    return join(out, qkv.shape[1:3], window, shift, pad_first)


def _aligned(mask: Tensor) -> Tensor:
    """Return the mask with rows that begin at multiples of 8 numbers, as CUDA's kernel wants."""
    n = mask.shape[-1]
    return F.pad(mask, (0, -n % 8))[..., :n] if mask.is_cuda else mask
