"""How the attention of each class of layers is computed, step by step: one function a class.

A function gets the module, its arguments and its output, and returns the weights and an output that
is computed from them. A new layer needs one more function and one more line in ``EXTRACTORS``;
names are those of classes, so that nothing is imported before a network has such a layer.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .record import Attention, Extractor, require_room

_PROJECTS = "mmattn.projects"


def _wide(*tensors: Tensor) -> list[Tensor]:
    """Tensors in float32 at least."""
    return [x.to(torch.promote_types(x.dtype, torch.float32)) for x in tensors]


def _softmax_qk(q: Tensor, k: Tensor, scale: float, mask: Tensor | None = None) -> Tensor:
    """softmax(scale q k^T + mask), (..., Nq, Nk); a boolean mask is True where keys take part."""
    q, k = _wide(q, k)
    logits = scale * (q @ k.mT)
    if mask is not None:
        if mask.dtype == torch.bool:
            logits = logits.masked_fill(~mask, -math.inf)
        else:
            logits = logits + mask.to(logits.dtype)
    return logits.softmax(-1)


def multihead_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """``nn.MultiheadAttention``, also that inside of mmcv's, whose own weights are averaged."""
    if module.bias_k is not None or module.add_zero_attn:
        return None
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    query, key, value = given["query"], given["key"], given["value"]
    if query.dim() != 3:
        return None
    same = query is key or (query.shape == key.shape and torch.equal(query, key))
    if not module.batch_first:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    heads = module.num_heads
    require_room("nn.MultiheadAttention", heads * query.shape[1] * key.shape[1])
    if module.in_proj_weight is not None:
        weights = module.in_proj_weight.chunk(3)
    else:
        weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(x, weight, bias).unflatten(2, (heads, -1)).transpose(1, 2)
        for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    mask = _additive(given.get("attn_mask"), heads)
    padding = given.get("key_padding_mask")
    if padding is not None:
        padding = _additive(padding, heads)[:, None, None]
        mask = padding if mask is None else mask + padding
    raw = _softmax_qk(q, k, q.shape[-1] ** -0.5, mask)
    y = (raw @ _wide(v)[0]).transpose(1, 2).flatten(2).to(query.dtype)
    y = module.out_proj(y)
    y = y if module.batch_first else y.transpose(0, 1)
    attention = Attention(raw, lambda a: a[0], "self" if same else "cross", key.shape[1])
    return [attention], (y, output[1])


def _additive(mask: Tensor | None, heads: int) -> Any:
    """Return a mask of ``nn.MultiheadAttention``, True or -inf where blocked, to be added."""
    if mask is None:
        return None
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, device=mask.device).masked_fill(mask, -math.inf)
    return mask.unflatten(0, (-1, heads)) if mask.dim() == 3 else mask


def mask2former_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """``MultiheadAttention`` of mmattn's Mask2Former, with one mask for all heads."""
    given = {**dict(zip(("query", "key", "value", "allowed"), args, strict=False)), **kwargs}
    allowed = given.get("allowed")
    weights = module.attn.in_proj_weight.chunk(3)
    biases = module.attn.in_proj_bias.chunk(3)
    inputs = (given["query"], given["key"], given["value"])
    q, k, v = (
        F.linear(x, weight, bias).unflatten(2, (module.num_heads, -1)).transpose(1, 2)
        for x, weight, bias in zip(inputs, weights, biases, strict=True)
    )
    require_room("MultiheadAttention", module.num_heads * q.shape[2] * k.shape[2])
    raw = _softmax_qk(q, k, q.shape[-1] ** -0.5, allowed)
    y = module.attn.out_proj((raw @ _wide(v)[0]).transpose(1, 2).flatten(2).to(output.dtype))
    kind = "self" if allowed is None else "cross"
    return [Attention(raw, lambda a: a[0], kind, k.shape[2])], y


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


def _deformable(
    raw: Tensor, value: Tensor, places: Tensor, shapes: list[tuple[int, int]]
) -> tuple[Attention, Tensor]:
    """Return the record and the sum of deformable attention: weights (B, Q, M, L, P)."""
    from mmattn.ops import multi_scale_deformable_attention

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
    (query,) = _wide(x + given["positions"])
    raw = module.attention_weights(query).unflatten(2, (heads, -1)).softmax(-1)
    raw = raw.unflatten(3, (levels, points))
    offsets = module.sampling_offsets(query).unflatten(2, (heads, levels, points, 2))
    sizes = offsets.new_tensor([[w, h] for h, w in shapes])
    places = given["reference"][:, None, None, None] + offsets / sizes[:, None]
    value = module.value_proj(x).unflatten(2, (heads, -1))
    attention, y = _deformable(raw, value, places, shapes)
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
    attention, y = _deformable(raw, value, places, shapes)
    y = module.output_proj(y)
    y = y if module.batch_first else y.transpose(0, 1)
    return [attention], module.dropout(y) + identity


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
    raw = _softmax_qk(qkv[0], qkv[1], inner.scale, mask)  # (windows, heads, tokens, tokens)
    y = inner.proj((raw @ _wide(qkv[2])[0]).transpose(1, 2).flatten(2).to(x.dtype))
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
    q, k, v = _wide(*module.qkv(x)[0].unflatten(2, (3, heads, -1)).unbind(2))  # (H, W, heads, d)
    y, by, in_y = neighbours(rows, side, dilation, x.device)
    z, bz, in_z = neighbours(columns, side, dilation, x.device)
    near_k, near_v = (t[y][:, :, z].transpose(1, 2) for t in (k, v))  # (H, W, k, k, heads, d)
    logits = torch.einsum("yxhd,yxabhd->hyxab", q * q.shape[-1] ** -0.5, near_k)
    if module.rpb is not None:
        logits = logits + module.rpb[:, by][:, :, :, bz].transpose(2, 3)
    inside = in_y[:, None, :, None] & in_z[None, :, None, :]
    raw = logits.masked_fill(~inside, -math.inf).flatten(3).softmax(-1)
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


def area_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """Area attention of YOLOv12: one row on its area, zeros elsewhere."""
    x = args[0]
    q, k, v = module.queries_keys_values(x)  # (1, N, heads, d)
    height, width = x.shape[2:]
    positions, channels = q.shape[1], q.shape[3]
    require_room("AreaAttention", q.shape[2] * positions * positions)
    area = torch.arange(positions, device=x.device) // -(-positions // module.areas)
    q, k, wide = (t.transpose(1, 2) for t in (q, k, _wide(v)[0]))
    raw = _softmax_qk(q, k, channels**-0.5, area[:, None] == area[None, :])
    out = (raw @ wide).transpose(1, 2).to(x.dtype).reshape(1, height, width, -1)
    values = v.reshape(1, height, width, -1).permute(0, 3, 1, 2)
    y = module.proj(out.permute(0, 3, 1, 2) + module.pe(values))
    grid = ((height, width),)
    attention = Attention(raw, lambda a: a[0], "self", positions, query_grids=grid, key_grids=grid)
    return [attention], x + y if module.shortcut else y


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
        q, k = (t[0].permute(1, 2, 0) for t in _wide(module.query_conv(x), module.key_conv(x)))
        row = torch.einsum("ijd,ikd->ijk", q, k)
        column = torch.einsum("ijd,kjd->ijk", q, k).masked_fill(itself, -math.inf)
        raw = torch.cat([row, column], 2).softmax(-1)  # (H, W, W + H)
        v = _wide(module.value_conv(x))[0][0].permute(1, 2, 0)
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


def timm_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """timm's ``Attention`` of vision transformers."""
    x = args[0]
    mask = args[1] if len(args) > 1 else kwargs.get("attn_mask")
    if not hasattr(module, "qkv") or x.dim() != 3 or not isinstance(output, Tensor):
        return None
    q, k, v = module.qkv(x).unflatten(2, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = module.q_norm(q), module.k_norm(k)
    require_room("Attention", module.num_heads * q.shape[2] ** 2)
    raw = _softmax_qk(q, k, module.scale, mask)
    y = (raw @ _wide(v)[0]).transpose(1, 2).flatten(2).to(x.dtype)
    y = getattr(module, "norm", torch.nn.Identity())(y)
    return [Attention(raw, lambda a: a[0], "self", x.shape[1])], module.proj(y)


#: Name of a class -> the function for it and the classes that are derived from it.
EXTRACTORS: dict[str, Extractor] = {
    "torch.nn.modules.activation.MultiheadAttention": multihead_attention,
    "mmcv.ops.multi_scale_deform_attn.MultiScaleDeformableAttention": mmcv_deformable_attention,
    "mmdet.models.backbones.swin.ShiftWindowMSA": shifted_windows,
    "mmseg.models.backbones.swin.ShiftWindowMSA": shifted_windows,
    "timm.layers.attention.Attention": timm_attention,
    f"{_PROJECTS}.mask2former.attention.MultiheadAttention": mask2former_attention,
    f"{_PROJECTS}.mask2former.deformable_attention.DeformableSelfAttention": (
        deformable_self_attention
    ),
    f"{_PROJECTS}.nat.backbone.NATBlock": neighborhood_block,
    f"{_PROJECTS}.nat.attention.NeighborhoodAttention": neighborhood_attention,
    f"{_PROJECTS}.yolov12.area_attention._AttentionOfViews": area_attention,
    f"{_PROJECTS}.ccnet.attention.CrissCrossAttention": criss_cross_attention,
}
