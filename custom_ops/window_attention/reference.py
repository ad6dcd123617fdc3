"""Window attention in plain torch: the oracle, the path that exports, and the fallback."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .._derivatives import differentiate
from .._precision import accumulate_dtype, autocast_off

OTHER_REGION = -100.0  # what Swin adds to logits across a border of the map


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
    dtype = accumulate_dtype(qkv.dtype)
    with autocast_off(qkv.device.type):
        q, k, v = split_heads(cut(qkv, pad, window, shift, pad_first).to(dtype), bias.shape[0])
        logits = scale * q @ k.transpose(-1, -2) + bias.to(dtype)
        if any(shift):
            logits = logits + region_mask(qkv.shape[1:3], window, shift, logits)[:, None]
        out = logits.softmax(-1) @ v  # (N, windows, heads, n, d)
    out = out.transpose(2, 3).flatten(3).to(qkv.dtype)
    return join(out, qkv.shape[1:3], window, shift, pad_first)


def backward(
    grad: Tensor,
    qkv: Tensor,
    bias: Tensor,
    pad: Tensor | None,
    window: Sequence[int],
    shift: Sequence[int],
    pad_first: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of qkv, bias and pad, the last of size 0 if there is no pad."""

    def function(qkv: Tensor, bias: Tensor, pad: Tensor | None) -> Tensor:
        return forward(qkv, bias, pad, window, shift, pad_first, scale)

    of_qkv, of_bias, of_pad = differentiate(function, [qkv, bias, pad], [grad])
    if of_pad is None:
        of_pad = qkv.new_zeros(0 if pad is None else pad.shape)
    assert of_qkv is not None and of_bias is not None
    return of_qkv.contiguous(), of_bias.contiguous(), of_pad


def cut(
    x: Tensor, pad: Tensor | None, window: Sequence[int], shift: Sequence[int], pad_first: bool
) -> Tensor:
    """Return the windows of a padded and rolled map. (N, H, W, C) -> (N, windows, n, C)."""
    (wh, ww), (sh, sw) = window, shift
    if not pad_first and any(shift):
        x = x.roll((-sh, -sw), (1, 2))
    height, width = x.shape[1:3]
    bottom, right = -height % wh, -width % ww
    if pad is not None:
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
        inside = _below(x, 1, height)[:, None] & _below(x, 2, width)
        x = torch.where(inside[..., None], x, pad)
    if pad_first and any(shift):
        x = x.roll((-sh, -sw), (1, 2))
    rows, columns = x.shape[1] // wh, x.shape[2] // ww
    x = x.reshape(x.shape[0], rows, wh, columns, ww, x.shape[3])
    return x.transpose(2, 3).reshape(x.shape[0], rows * columns, wh * ww, x.shape[5])


def join(
    x: Tensor, size: Sequence[int], window: Sequence[int], shift: Sequence[int], pad_first: bool
) -> Tensor:
    """Undo ``cut`` for a map of ``size``. (N, windows, n, C) -> (N, H, W, C), contiguous."""
    (height, width), (wh, ww) = size, window
    rows, columns = (height + wh - 1) // wh, (width + ww - 1) // ww
    x = x.reshape(x.shape[0], rows, columns, wh, ww, x.shape[3]).transpose(2, 3)
    x = x.reshape(x.shape[0], rows * wh, columns * ww, x.shape[5])
    if pad_first and any(shift):
        x = x.roll(tuple(shift), (1, 2))
    x = x[:, :height, :width]
    if not pad_first and any(shift):
        x = x.roll(tuple(shift), (1, 2))
    return x.contiguous()


def split_heads(windows: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, windows, n, 3 C) -> queries, keys and values, each (N, windows, heads, n, C / heads)."""
    q, k, v = windows.unflatten(3, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5).unbind(0)
    return q, k, v


def region_mask(
    size: Sequence[int], window: Sequence[int], shift: Sequence[int], like: Tensor
) -> Tensor:
    """What is added to the logits of a rolled map. Shape (windows, n, n).

    Rolling brings both ends of an axis into one window. Each axis that is rolled has three regions,
    cut ``window`` and ``shift`` positions before its end; tokens of different regions get -100.
    """
    labels = []
    for length, w, s in zip(size, window, shift, strict=True):
        padded = (length + w - 1) // w * w
        position = torch.arange(padded, device=like.device)
        label = (position >= padded - w).long() + (position >= padded - s).long()
        labels.append(label if s else torch.zeros_like(position))
    label = (3 * labels[0][:, None] + labels[1])[None, :, :, None]
    label = cut(label, None, window, (0, 0), True)[0, ..., 0]  # (windows, n)
    differs = label[:, None, :] != label[:, :, None]
    return differs.to(like.dtype) * OTHER_REGION


def _below(x: Tensor, axis: int, length: int) -> Tensor:
    return torch.arange(x.shape[axis], device=x.device) < length
