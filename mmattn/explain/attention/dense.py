"""Attention of every query to every key: torch, mmcv, timm, Mask2Former, and within areas."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .layer import Attention, require_room
from .product import softmax_qk, wide_of


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
    raw = softmax_qk(q, k, q.shape[-1] ** -0.5, mask)
    y = (raw @ wide_of(v)[0]).transpose(1, 2).flatten(2).to(query.dtype)
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


def conditional_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """``ConditionalAttention`` of Conditional DETR and DAB-DETR.

    In cross-attention each head compares contents and places, concatenated; values are contents.
    """
    names = ("query", "key", "query_pos", "ref_sine_embed", "key_pos", "attn_mask")
    names = (*names, "key_padding_mask", "is_first")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    query, places = given["query"], given.get("query_pos")
    heads = module.num_heads

    def split(x: Tensor) -> Tensor:
        return x.unflatten(2, (heads, -1)).transpose(1, 2)

    q, key = module.qcontent_proj(query), given["key"] if module.cross_attn else query
    k, v = module.kcontent_proj(key), module.v_proj(key)
    require_room("ConditionalAttention", heads * q.shape[1] * k.shape[1])
    if module.cross_attn:
        k_places = module.kpos_proj(given["key_pos"])
        if given.get("is_first") or module.keep_query_pos:
            q, k = q + module.qpos_proj(places), k + k_places
        sine = module.qpos_sine_proj(given["ref_sine_embed"])
        q, k = torch.cat([split(q), split(sine)], 3), torch.cat([split(k), split(k_places)], 3)
    else:
        q, k = split(q + module.qpos_proj(places)), split(k + module.kpos_proj(places))
    mask = _additive(given.get("attn_mask"), heads)
    if given.get("key_padding_mask") is not None:
        padding = _additive(given["key_padding_mask"], heads)[:, None, None]
        mask = padding if mask is None else mask + padding
    raw = softmax_qk(q, k, q.shape[-1] ** -0.5, mask)
    y = (raw @ wide_of(split(v))[0]).transpose(1, 2).flatten(2).to(query.dtype)
    kind = "cross" if module.cross_attn else "self"
    return [Attention(raw, lambda a: a[0], kind, k.shape[2])], query + module.out_proj(y)


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
    raw = softmax_qk(q, k, q.shape[-1] ** -0.5, allowed)
    y = module.attn.out_proj((raw @ wide_of(v)[0]).transpose(1, 2).flatten(2).to(output.dtype))
    kind = "self" if allowed is None else "cross"
    return [Attention(raw, lambda a: a[0], kind, k.shape[2])], y


def area_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """Area attention of YOLOv12: one row on its area, zeros elsewhere."""
    x = args[0]
    q, k, v = module.queries_keys_values(x)  # (1, N, heads, d)
    height, width = x.shape[2:]
    positions, channels = q.shape[1], q.shape[3]
    require_room("AreaAttention", q.shape[2] * positions * positions)
    area = torch.arange(positions, device=x.device) // -(-positions // module.areas)
    q, k, wide = (t.transpose(1, 2) for t in (q, k, wide_of(v)[0]))
    raw = softmax_qk(q, k, channels**-0.5, area[:, None] == area[None, :])
    out = (raw @ wide).transpose(1, 2).to(x.dtype).reshape(1, height, width, -1)
    values = v.reshape(1, height, width, -1).permute(0, 3, 1, 2)
    y = module.proj(out.permute(0, 3, 1, 2) + module.pe(values))
    grid = ((height, width),)
    attention = Attention(raw, lambda a: a[0], "self", positions, query_grids=grid, key_grids=grid)
    return [attention], x + y if module.shortcut else y


def timm_attention(module: Any, args: tuple, kwargs: dict[str, Any], output: Any):
    """timm's ``Attention`` of vision transformers."""
    x = args[0]
    mask = args[1] if len(args) > 1 else kwargs.get("attn_mask")
    if not hasattr(module, "qkv") or x.dim() != 3 or not isinstance(output, Tensor):
        return None
    q, k, v = module.qkv(x).unflatten(2, (3, module.num_heads, -1)).permute(2, 0, 3, 1, 4)
    q, k = module.q_norm(q), module.k_norm(k)
    require_room("Attention", module.num_heads * q.shape[2] ** 2)
    raw = softmax_qk(q, k, module.scale, mask)
    y = (raw @ wide_of(v)[0]).transpose(1, 2).flatten(2).to(x.dtype)
    y = getattr(module, "norm", torch.nn.Identity())(y)
    return [Attention(raw, lambda a: a[0], "self", x.shape[1])], module.proj(y)
