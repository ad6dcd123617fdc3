"""Deformable attention: a few points of each level, read bilinearly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .layer import Attention
from .product import per_head, wide_of


def corners_of(places: Tensor, shapes: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Return the four pixels around points, and the share that each has: adjoint of bilinear.

    Args:
        places: (..., L, P, 2) x and y as shares of the map.
        shapes: Height and width of each of the L levels.

    Returns:
        Numbers of the pixels, all levels one after the other, -1 outside of the level, and shares;
        both (..., L, P, 4).
    """
    all_keys, all_shares = [], []
    start = 0
    for level, (height, width) in enumerate(shapes):
        u = places[..., level, :, 0] * width - 0.5
        v = places[..., level, :, 1] * height - 0.5
        keys, shares = [], []
        for dv in (0, 1):
            for du in (0, 1):
                column, row = u.floor() + du, v.floor() + dv
                share = (1 - (u - column).abs()) * (1 - (v - row).abs())
                inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
                key = row.clamp(0, height - 1) * width + column.clamp(0, width - 1) + start
                keys.append(torch.where(inside, key.long(), -1))
                shares.append(share)
        all_keys.append(torch.stack(keys, -1))
        all_shares.append(torch.stack(shares, -1))
        start += height * width
    return torch.stack(all_keys, -3), torch.stack(all_shares, -3)


def deformable(
    raw: Tensor, value: Tensor, places: Tensor, shapes: list[tuple[int, int]]
) -> tuple[Attention, Tensor]:
    """Return the record and the sum of deformable attention: weights (B, Q, M, L, P)."""
    from mmattn.ops import multi_scale_deformable_attention

    raw = per_head(raw, 2)
    keys, shares = corners_of(places[0].detach().double(), shapes)  # (Q, M, L, P, 4)
    queries, _, levels, points = raw.shape[1:]
    tokens = sum(h * w for h, w in shapes)
    at_level = torch.arange(levels, device=raw.device)[:, None].expand(levels, points).flatten()
    itself = queries == tokens
    attention = Attention(
        raw,
        lambda a: a[0].transpose(0, 1).flatten(2),  # (M, Q, L P)
        "self" if itself else "cross",
        tokens,
        keys=keys.transpose(0, 1).flatten(2, 3),
        shares=shares.transpose(0, 1).flatten(2, 3),
        query_grids=tuple(shapes) if itself else (),
        key_grids=tuple(shapes),
        places=places[0].detach().transpose(0, 1).flatten(2, 3),
        point_levels=at_level,
    )
    return attention, multi_scale_deformable_attention(value, shapes, places, raw)


def deformable_self_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """``DeformableSelfAttention`` of mmattn's Mask2Former."""
    names = ("x", "positions", "reference", "shapes")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    x, shapes = given["x"], [(int(h), int(w)) for h, w in given["shapes"]]
    heads, levels, points = module.points
    (query,) = wide_of(x + given["positions"])
    raw = module.attention_weights(query).unflatten(2, (heads, -1)).softmax(-1)
    raw = raw.unflatten(3, (levels, points))
    offsets = module.sampling_offsets(query).unflatten(2, (heads, levels, points, 2))
    sizes = offsets.new_tensor([[w, h] for h, w in shapes])
    places = given["reference"][:, None, None, None] + offsets / sizes[:, None]
    value = module.value_proj(x).unflatten(2, (heads, -1))
    attention, y = deformable(raw, value, places, shapes)
    return [attention], module.output_proj(y)


def mmcv_deformable_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """mmcv's ``MultiScaleDeformableAttention``."""
    names = ("query", "key", "value", "identity", "query_pos", "key_padding_mask")
    names = (*names, "reference_points", "spatial_shapes", "level_start_index")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    query = given["query"]
    value = query if given.get("value") is None else given["value"]
    identity = query if given.get("identity") is None else given["identity"]
    if given.get("query_pos") is not None:
        query = query + given["query_pos"]
    if not module.batch_first:
        query, value = query.transpose(0, 1), value.transpose(0, 1)
    shapes = [(int(h), int(w)) for h, w in given["spatial_shapes"].tolist()]
    value = module.value_proj(value)
    if given.get("key_padding_mask") is not None:
        value = value.masked_fill(given["key_padding_mask"][..., None], 0.0)
    split = (module.num_heads, module.num_levels, module.num_points)
    raw = module.attention_weights(query).unflatten(2, (module.num_heads, -1)).softmax(-1)
    raw = raw.unflatten(3, split[1:])
    offsets = module.sampling_offsets(query).unflatten(2, (*split, 2))
    reference = given["reference_points"][:, :, None, :, None]
    if reference.shape[-1] == 2:
        sizes = offsets.new_tensor([[w, h] for h, w in shapes])
        places = reference + offsets / sizes[:, None]
    else:
        places = reference[..., :2] + offsets / module.num_points * reference[..., 2:] * 0.5
    value = value.unflatten(2, (module.num_heads, -1))
    attention, y = deformable(raw, value, places, shapes)
    y = module.output_proj(y)
    y = y if module.batch_first else y.transpose(0, 1)
    return [attention], module.dropout(y) + identity
