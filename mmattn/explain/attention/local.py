"""Attention to a part of the map: shifted windows, neighborhoods, rows and columns."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .layer import Attention
from .product import per_head, softmax_qk, wide_of


def shifted_windows(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """``ShiftWindowMSA`` of mmdet's and mmseg's Swin, put back on the image grid.

    The token of a shifted window at rolled place (a, b) is the pixel ((a + s) mod H, (b + s) mod W)
    of the padded map; weights of pairs that are masked are 0, padding is cut off.
    """
    given = {**dict(zip(("query", "hw_shape"), args, strict=False)), **kwargs}
    x, (height, width) = given["query"], given["hw_shape"]
    side, shift, inner = module.window_size, module.shift_size, module.w_msa
    bottom, right = -height % side, -width % side
    rows, columns = height + bottom, width + right
    padded = F.pad(x.unflatten(1, (height, width)), (0, 0, 0, right, 0, bottom))
    # Which padded pixel stands at each place of each window, and which pixel of the map that is.
    place = torch.arange(rows * columns, device=x.device).view(rows, columns)
    place = place.roll((-shift, -shift), (0, 1))
    windows = place.view(rows // side, side, columns // side, side).transpose(1, 2)
    windows = windows.reshape(-1, side * side)  # (windows, tokens)
    row, column = windows // columns, windows % columns
    pixel = torch.where((row < height) & (column < width), row * width + column, -1)
    tokens = padded.flatten(1, 2)[0][windows]  # (windows, tokens, C)
    qkv = inner.qkv(tokens).unflatten(2, (3, inner.num_heads, -1)).permute(2, 0, 3, 1, 4)
    bias = inner.relative_position_bias_table[inner.relative_position_index.flatten()]
    mask = bias.view(side**2, side**2, -1).permute(2, 0, 1)[None]
    if shift:
        mask = mask + _region_mask(rows, columns, side, shift, x)[:, None]
    raw = softmax_qk(qkv[0], qkv[1], inner.scale, mask)  # (windows, heads, tokens, tokens)
    y = inner.proj((raw @ wide_of(qkv[2])[0]).transpose(1, 2).flatten(2).to(x.dtype))
    back = torch.zeros_like(windows.flatten())
    back[windows.flatten()] = torch.arange(back.numel(), device=x.device)
    y = y.flatten(0, 1)[back].view(1, rows, columns, -1)[:, :height, :width]
    flat = pixel.flatten()
    order = torch.empty(height * width, dtype=torch.long, device=x.device)
    order[flat[flat >= 0]] = torch.arange(flat.numel(), device=x.device)[flat >= 0]
    window = order // side**2
    attention = Attention(
        raw,
        lambda a: a[window, :, order % side**2].transpose(0, 1),
        "self",
        height * width,
        keys=pixel[window][None, :, :, None],
        query_grids=((height, width),),
        key_grids=((height, width),),
    )
    return [attention], module.drop(y.flatten(1, 2))


def _region_mask(rows: int, columns: int, side: int, shift: int, like: Tensor) -> Tensor:
    """Return -inf between tokens of a window that are no neighbours: (windows, tokens, tokens).

    Upstream adds -100, which leaves weights of about 1e-44.
    """

    def parts(length: int) -> Tensor:
        index = torch.arange(length, device=like.device)
        return (index >= length - side).long() + (index >= length - shift).long()

    region = 3 * parts(rows)[:, None] + parts(columns)[None, :]
    region = region.view(rows // side, side, columns // side, side).transpose(1, 2)
    region = region.reshape(-1, side * side)
    different = region[:, None] != region[:, :, None]
    return torch.zeros(different.shape, device=like.device).masked_fill(different, -math.inf)


def neighborhood_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """``NeighborhoodAttention``: keys by the clamped rule."""
    from mmattn.ops.neighborhood_attention.reference import neighbours

    x = args[0].permute(0, 2, 3, 1)
    return _neighborhood(module, x, neighbours, lambda y: y.permute(0, 3, 1, 2))


def neighborhood_block(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """``NATBlock``, which calls its attention on channels-last maps, past the hooks."""
    from mmattn.ops.neighborhood_attention.reference import neighbours

    x = args[0]
    records, y = _neighborhood(module.attn, module.norm1(x), neighbours, lambda y: y)
    y = y if module.layer_scale is None else module.gamma1 * y
    x = x + module.drop_path(y)
    hidden = module.mlp(module.norm2(x))
    hidden = hidden if module.layer_scale is None else module.gamma2 * hidden
    return records, x + module.drop_path(hidden)


def _neighborhood(module: Any, x: Tensor, neighbours: Any, back: Any):
    height, width = x.shape[1:3]
    if module.small_map == "pad":
        smallest = module.kernel_size * module.dilation
        bottom, right = max(smallest - height, 0), max(smallest - width, 0)
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
    rows, columns = x.shape[1:3]
    side, dilation, heads = module.kernel_size, module.dilation, module.num_heads
    q, k, v = wide_of(*module.qkv(x)[0].unflatten(2, (3, heads, -1)).unbind(2))  # (H, W, heads, d)
    y, by, in_y = neighbours(rows, side, dilation, x.device)
    z, bz, in_z = neighbours(columns, side, dilation, x.device)
    near_k, near_v = (t[y][:, :, z].transpose(1, 2) for t in (k, v))  # (H, W, k, k, heads, d)
    logits = torch.einsum("yxhd,yxabhd->hyxab", q * q.shape[-1] ** -0.5, near_k)
    if module.rpb is not None:
        logits = logits + module.rpb[:, by][:, :, :, bz].transpose(2, 3)
    inside = in_y[:, None, :, None] & in_z[None, :, None, :]
    raw = per_head(logits.masked_fill(~inside, -math.inf).flatten(3).softmax(-1), 0)
    near = near_v.flatten(2, 3)  # (H, W, k k, heads, d)
    out = torch.einsum("hyxs,yxshd->yxhd", raw, near)[:height, :width]
    out = module.proj(out.flatten(2).to(x.dtype))[None]
    key = y[:, None, :, None] * width + z[None, :, None, :]
    real = inside & (y[:, None, :, None] < height) & (z[None, :, None, :] < width)
    key = torch.where(real, key, -1)[:height, :width].flatten(2).flatten(0, 1)
    attention = Attention(
        raw,
        lambda a: a[:, :height, :width].flatten(1, 2),
        "self",
        height * width,
        keys=key[None, :, :, None],
        query_grids=((height, width),),
        key_grids=((height, width),),
    )
    return [attention], back(out)


def criss_cross_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """``CrissCrossAttention``, one record for each pass."""
    x, records = args[0], []
    height, width = x.shape[2:]
    index = torch.arange(height * width, device=x.device).view(height, width)
    rows = index[:, None, :].expand(height, width, width)
    columns = index.T[None].expand(height, width, height)
    keys = torch.cat([rows, columns], 2).flatten(0, 1)[None, :, :, None]
    grid = ((height, width),)
    itself = torch.eye(height, dtype=torch.bool, device=x.device)[:, None]  # the row counts it
    for step in range(1, module.recurrence + 1):
        q, k = (t[0].permute(1, 2, 0) for t in wide_of(module.query_conv(x), module.key_conv(x)))
        row = torch.einsum("ijd,ikd->ijk", q, k)
        column = torch.einsum("ijd,kjd->ijk", q, k).masked_fill(itself, -math.inf)
        raw = torch.cat([row, column], 2).softmax(-1)  # (H, W, W + H)
        v = wide_of(module.value_conv(x))[0][0].permute(1, 2, 0)
        gathered = torch.einsum("ijk,ikc->ijc", raw[:, :, :width], v)
        gathered = gathered + torch.einsum("ijk,kjc->ijc", raw[:, :, width:], v)
        x = x + module.gamma.squeeze() * gathered.permute(2, 0, 1)[None].to(x.dtype)
        attention = Attention(
            raw, _one_head, "self", height * width, keys=keys, query_grids=grid, key_grids=grid
        )
        attention.step = step if module.recurrence > 1 else 0
        records.append(attention)
    return records, x


def _one_head(a: Tensor) -> Tensor:
    return a.flatten(0, 1)[None]
