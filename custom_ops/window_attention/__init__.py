"""Attention within shifted windows (Liu et al., Swin Transformer, ICCV 2021, arXiv:2103.14030)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._operator import forced_backend, is_exporting
from .._precision import accumulate_dtype
from . import composition, reference
from .checks import check_windows
from .op import operator as operator


def window_attention(
    qkv: Tensor,
    bias: Tensor,
    pad: Tensor | None = None,
    *,
    window_size: int | Sequence[int],
    shift: int | Sequence[int] = 0,
    pad_first: bool = True,
    scale: float | None = None,
) -> Tensor:
    """Let every position attend to its window.

        y = softmax(scale q k^T + bias + mask) v        within each window of n positions

    The map is padded at the right and the bottom to whole windows, and rolled by ``-shift``; the
    output is rolled back and cropped. Padded positions are keys like others, with the values that
    ``pad`` gives, as in the released networks. ``mask`` is -100 between positions that are
    neighbours only because the map was rolled, and 0 elsewhere.

    Padding, rolling and cutting are only indices in the compiled kernel. The backward pass keeps
    the inputs alone and computes the weights again.

    Logits and softmax are float32 for half-precision inputs and float64 for float64. Exported
    graphs hold standard matrix products; without a kernel, ``scaled_dot_product_attention`` runs.

    Args:
        qkv: Queries, keys and values, each of all heads, channels-last. Shape (N, H, W, 3 C).
        bias: Added to the logits. Shape (heads, n, n), query before key, with n = the product of
            ``window_size``; in the dtype of ``qkv``, or float32 where that is half precision.
        pad: Queries, keys and values of a padded position: what the projection makes of zeros.
            Shape (3 C,). Needed where ``window_size`` does not divide the map.
        window_size: Height and width of the windows.
        shift: How far the map is rolled, up and to the left; smaller than the window.
        pad_first: Whether the map is padded before it is rolled (mmdet, mmseg), or after (timm).
        scale: Factor of the products of queries and keys; 1 / sqrt(C / heads) by default.

    Returns:
        The output in the dtype of ``qkv``, channels-last. Shape (N, H, W, C).

    Raises:
        TypeError: A tensor is not floating point, or has another dtype than it must.
        ValueError: Shapes or devices do not agree, ``pad`` is missing, or the shift is as large as
            the window.

    Example:
        >>> qkv, bias = torch.zeros(1, 8, 12, 3 * 6), torch.zeros(2, 16, 16)
        >>> window_attention(qkv, bias, window_size=4, shift=2).shape
        torch.Size([1, 8, 12, 6])
    """
    window, rolled = check_windows(qkv, bias, pad, window_size, shift)
    factor = (qkv.shape[3] // 3 // bias.shape[0]) ** -0.5 if scale is None else float(scale)
    if qkv.shape[1] % window[0] == 0 and qkv.shape[2] % window[1] == 0:
        pad = None  # so that it does not count as used
    arguments = (qkv, bias, pad, window, rolled, pad_first, factor)
    if is_exporting():
        return reference.forward(*arguments)
    if forced_backend() is None and operator.choose(qkv.device.type, qkv.dtype) == "reference":
        return composition.forward(*arguments)
    bias = bias.to(accumulate_dtype(qkv.dtype))
    return torch.ops.mmattn.window_attention(qkv, bias, *arguments[2:])
