"""Criss-cross attention of channels-last images in Triton: forward and backward.

A line, a column or a row, is a small attention of its own. Columns run first and leave out the
position itself; each leaves its output and log-sum-exp l_c in float32. Rows then merge:

    l = log(exp(l_r) + exp(l_c)),  y = exp(l_r - l) y_r + exp(l_c - l) y_c

Backward, exp(logit - l) are the weights in rows and columns alike, so each line adds its part to
the gradients, in float32: columns first, rows second. No two programs of a launch share an output,
so there are no atomics, and results repeat. Offsets are 64-bit. For half-precision inputs, weights
and gradients of logits are rounded to that dtype before they are multiplied, as tensor cores ask.

``tl.full`` and ``tl.reduce`` stand where ``tl.zeros`` and ``tl.sum`` could: the latter are compiled
or interpreted as was decided when triton was imported, maybe by somebody else.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

# Positions of a line, queries and keys alike, and channels of the value in a tile. Float32 products
# are computed in registers, not by tensor cores; larger tiles would not fit.
_HALF = (64, 64)
_FLOAT32 = (32, 32)
_WARPS = 8

_LOWEST = tl.constexpr(-1e38)  # finite, so that differences are not NaN


@triton.jit
def _tile(start, position, length, step, channel, channels, TYPE: tl.constexpr):
    """Load numbers (position, channel) of a line, zero outside, in the dtype of the products."""
    inside = (position < length)[:, None] & (channel < channels)[None, :]
    at = position.to(tl.int64)[:, None] * step + channel[None, :]
    return tl.load(start + at, mask=inside, other=0).to(TYPE)


@triton.jit
def _add_to_tile(start, position, length, step, channel, channels, addend):
    inside = (position < length)[:, None] & (channel < channels)[None, :]
    at = start + position.to(tl.int64)[:, None] * step + channel[None, :]
    tl.store(at, tl.load(at, mask=inside, other=0) + addend, mask=inside)


@triton.jit
def _seen(query, key, length, COLUMN: tl.constexpr):
    """Return which keys each query sees: all of the line, but in a column not itself."""
    inside = (query < length)[:, None] & (key < length)[None, :]
    if COLUMN:
        inside = inside & (query[:, None] != key[None, :])
    return inside


@triton.jit
def _attend(
    q, k, v, out, column_out, lse, column_lse,
    lines, length, query_channels, value_channels,
    q_n, q_line, q_step, k_n, k_line, k_step, v_n, v_line, v_step,
    o_n, o_line, o_step, l_n, l_line, l_step,
    COLUMN: tl.constexpr, MERGE: tl.constexpr,
    BLOCK: tl.constexpr, DEPTH: tl.constexpr, CHANNELS: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    n = (tl.program_id(0) // lines).to(tl.int64)
    line = (tl.program_id(0) % lines).to(tl.int64)
    query = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    d = tl.arange(0, DEPTH)
    queries = _tile(q + n * q_n + line * q_line, query, length, q_step, d, query_channels, TYPE)
    most = tl.full((BLOCK,), _LOWEST, tl.float32)
    total = tl.full((BLOCK,), 0, tl.float32)
    sums = tl.full((BLOCK, CHANNELS), 0, tl.float32)
    for first in range(0, length, BLOCK):
        key = first + tl.arange(0, BLOCK)
        keys = _tile(k + n * k_n + line * k_line, key, length, k_step, d, query_channels, TYPE)
        values = _tile(v + n * v_n + line * v_line, key, length, v_step, c, value_channels, TYPE)
        logits = tl.dot(queries, tl.trans(keys), input_precision="ieee")
        logits = tl.where(_seen(query, key, length, COLUMN), logits, float("-inf"))
        higher = tl.maximum(most, tl.reduce(logits, 1, tl.standard._elementwise_max))
        weights = tl.exp(logits - higher[:, None])
        shrink = tl.exp(most - higher)
        total = total * shrink + tl.reduce(weights, 1, tl.standard._sum_combine)
        sums *= shrink[:, None]
        sums += tl.dot(weights.to(TYPE), values, input_precision="ieee")
        most = higher
    inside = query < length
    total = tl.where(inside, total, 1.0)
    own = most + tl.log(total)
    sums = sums / total[:, None]
    position = query.to(tl.int64)
    of_line = n * l_n + line * l_line + position * l_step
    at = n * o_n + line * o_line + position[:, None] * o_step + c[None, :]
    whole = inside[:, None] & (c < value_channels)[None, :]
    if COLUMN:
        tl.store(column_out + at, sums, mask=whole)
        tl.store(column_lse + of_line, own, mask=inside & (tl.program_id(2) + query * 0 == 0))
    else:
        if MERGE:
            other = tl.load(column_lse + of_line, mask=inside, other=0)
            larger = tl.maximum(own, other)
            joint = larger + tl.log(tl.exp(own - larger) + tl.exp(other - larger))
            others = tl.load(column_out + at, mask=whole, other=0)
            sums = sums * tl.exp(own - joint)[:, None] + others * tl.exp(other - joint)[:, None]
            own = joint
        tl.store(out + at, sums.to(out.dtype.element_ty), mask=whole)
        tl.store(lse + of_line, own, mask=inside & (tl.program_id(2) + query * 0 == 0))


@triton.jit
def _add_grad_query_key(
    q, k, v, grad, lse, delta, grad_q, grad_k,
    lines, length, query_channels, value_channels,
    q_n, q_line, q_step, k_n, k_line, k_step, v_n, v_line, v_step, g_n, g_line, g_step,
    l_n, l_line, l_step, gq_n, gq_line, gq_step, gk_n, gk_line, gk_step,
    COLUMN: tl.constexpr,
    BLOCK: tl.constexpr, DEPTH: tl.constexpr, CHANNELS: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    n = (tl.program_id(0) // lines).to(tl.int64)
    line = (tl.program_id(0) % lines).to(tl.int64)
    d = tl.arange(0, DEPTH)
    of_line = n * l_n + line * l_line
    for first_key in range(0, length, BLOCK):
        key = first_key + tl.arange(0, BLOCK)
        keys = _tile(k + n * k_n + line * k_line, key, length, k_step, d, query_channels, TYPE)
        found = tl.full((BLOCK, DEPTH), 0, tl.float32)
        for first_query in range(0, length, BLOCK):
            query = first_query + tl.arange(0, BLOCK)
            queries = _tile(
                q + n * q_n + line * q_line, query, length, q_step, d, query_channels, TYPE
            )
            at = of_line + query.to(tl.int64) * l_step
            shift = tl.load(lse + at, mask=query < length, other=0)
            offset = tl.load(delta + at, mask=query < length, other=0)
            logits = tl.dot(queries, tl.trans(keys), input_precision="ieee")
            seen = _seen(query, key, length, COLUMN)
            weights = tl.exp(tl.where(seen, logits - shift[:, None], float("-inf")))
            grads = tl.full((BLOCK, BLOCK), 0, tl.float32)
            for chunk in range(0, value_channels, CHANNELS):
                c = chunk + tl.arange(0, CHANNELS)
                grad_out = _tile(
                    grad + n * g_n + line * g_line, query, length, g_step, c, value_channels, TYPE
                )
                values = _tile(
                    v + n * v_n + line * v_line, key, length, v_step, c, value_channels, TYPE
                )
                grads += tl.dot(grad_out, tl.trans(values), input_precision="ieee")
            grads = (weights * (grads - offset[:, None])).to(TYPE)
            found += tl.dot(tl.trans(grads), queries, input_precision="ieee")
            _add_to_tile(
                grad_q + n * gq_n + line * gq_line, query, length, gq_step, d, query_channels,
                tl.dot(grads, keys, input_precision="ieee"),
            )  # fmt: skip
        _add_to_tile(
            grad_k + n * gk_n + line * gk_line, key, length, gk_step, d, query_channels, found
        )
        tl.debug_barrier()  # the next keys add to the same queries


@triton.jit
def _add_grad_value(
    q, k, grad, lse, grad_v,
    lines, length, query_channels, value_channels,
    q_n, q_line, q_step, k_n, k_line, k_step, g_n, g_line, g_step,
    l_n, l_line, l_step, gv_n, gv_line, gv_step,
    COLUMN: tl.constexpr,
    BLOCK: tl.constexpr, DEPTH: tl.constexpr, CHANNELS: tl.constexpr, TYPE: tl.constexpr,
):  # fmt: skip
    n = (tl.program_id(0) // lines).to(tl.int64)
    line = (tl.program_id(0) % lines).to(tl.int64)
    key = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    d = tl.arange(0, DEPTH)
    keys = _tile(k + n * k_n + line * k_line, key, length, k_step, d, query_channels, TYPE)
    found = tl.full((BLOCK, CHANNELS), 0, tl.float32)
    for first in range(0, length, BLOCK):
        query = first + tl.arange(0, BLOCK)
        queries = _tile(q + n * q_n + line * q_line, query, length, q_step, d, query_channels, TYPE)
        at = n * l_n + line * l_line + query.to(tl.int64) * l_step
        shift = tl.load(lse + at, mask=query < length, other=0)
        logits = tl.dot(queries, tl.trans(keys), input_precision="ieee")
        seen = _seen(query, key, length, COLUMN)
        weights = tl.exp(tl.where(seen, logits - shift[:, None], float("-inf")))
        grads = _tile(
            grad + n * g_n + line * g_line, query, length, g_step, c, value_channels, TYPE
        )
        found += tl.dot(tl.trans(weights.to(TYPE)), grads, input_precision="ieee")
    _add_to_tile(grad_v + n * gv_n + line * gv_line, key, length, gv_step, c, value_channels, found)


def forward(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Return output and log-sum-exp; see ``mmattn.ops.criss_cross_attention``."""
    q, k, v = (_channels_last(t) for t in (query, key, value))
    n, channels, height, width = v.shape
    out = _empty(v, v.dtype)
    lse = v.new_empty((n, height, width), dtype=torch.float32)
    if n == 0:
        return out, lse
    merge = height > 1  # a column of one position has nothing to add to its row
    column_out = _empty(v, torch.float32) if merge else out
    column_lse = torch.empty_like(lse)
    sizes = _sizes(q)
    chunks = max(triton.cdiv(channels, sizes["CHANNELS"]), 1)
    with torch.cuda.device_of(v):
        for column in (True, False) if merge else (False,):
            lines, length = _lines(v, column)
            _attend[(n * lines, triton.cdiv(length, sizes["BLOCK"]), chunks)](
                q, k, v, out, column_out, lse, column_lse,
                lines, length, q.shape[1], channels,
                *(s for t in (q, k, v, out, lse) for s in _steps(t, column)),
                COLUMN=column, MERGE=merge, **sizes,
            )  # fmt: skip
    return out, lse


def backward(
    grad: Tensor,
    grad_lse: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of query, key and value."""
    g, q, k, v = (_channels_last(t) for t in (grad, query, key, value))
    grad_q, grad_k, grad_v = (_empty(t, torch.float32).zero_() for t in (q, k, v))
    if q.shape[0] > 0:
        delta = (g.float() * out.float()).sum(1)
        delta = (delta if grad_lse is None else delta - grad_lse).contiguous()
        lse = lse.contiguous()
        sizes = _sizes(q)
        chunks = max(triton.cdiv(v.shape[1], sizes["CHANNELS"]), 1)
        with torch.cuda.device_of(v):
            for column in (True, False) if v.shape[2] > 1 else (False,):
                lines, length = _lines(v, column)
                counts = (lines, length, q.shape[1], v.shape[1])
                blocks = triton.cdiv(length, sizes["BLOCK"])
                _add_grad_query_key[(q.shape[0] * lines,)](
                    q, k, v, g, lse, delta, grad_q, grad_k, *counts,
                    *(s for t in (q, k, v, g, lse, grad_q, grad_k) for s in _steps(t, column)),
                    COLUMN=column, **sizes,
                )  # fmt: skip
                _add_grad_value[(q.shape[0] * lines, blocks, chunks)](
                    q, k, g, lse, grad_v, *counts,
                    *(s for t in (q, k, g, lse, grad_v) for s in _steps(t, column)),
                    COLUMN=column, **sizes,
                )  # fmt: skip
    return grad_q.to(query.dtype), grad_k.to(key.dtype), grad_v.to(value.dtype)


def _channels_last(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=torch.channels_last)


def _empty(like: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty(
        like.shape, dtype=dtype, device=like.device, memory_format=torch.channels_last
    )


def _lines(t: Tensor, column: bool) -> tuple[int, int]:
    """Return the number and the length of an image's lines."""
    return (t.shape[3], t.shape[2]) if column else (t.shape[2], t.shape[3])


def _steps(t: Tensor, column: bool) -> tuple[int, int, int]:
    """Return steps in memory between images, lines and positions."""
    down, across = t.stride(-2), t.stride(-1)
    return (t.stride(0), across, down) if column else (t.stride(0), down, across)


def _sizes(q: Tensor) -> dict:
    depth = max(triton.next_power_of_2(q.shape[1]), 16)  # the smallest that tl.dot supports
    types = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
    dtype = types[q.dtype]
    if dtype == tl.bfloat16 and not isinstance(_attend, triton.JITFunction):
        dtype = tl.float32  # the interpreter multiplies the bits of bfloat16 as whole numbers
    block, channels = _FLOAT32 if q.dtype == torch.float32 else _HALF
    return {
        "BLOCK": block, "DEPTH": depth, "CHANNELS": channels, "TYPE": dtype, "num_warps": _WARPS,
    }  # fmt: skip
