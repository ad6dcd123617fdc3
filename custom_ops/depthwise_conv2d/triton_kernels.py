"""Depthwise convolution of channels-last images in Triton: forward and both gradients.

A program sums a tile of neighbouring pixels of one row and some channels over the kernel's taps;
taps that read the same pixels hit the L1 cache. The input gradient is the same kernel with flipped
weights. The weight gradient goes in two steps, partial sums by chunks of tiles and a sum over the
chunks, so it is deterministic. Sums are float32 (float64 for float64), offsets 64-bit.

``tl.full`` and ``tl.reduce`` stand where ``tl.zeros`` and ``tl.sum`` could: the latter are compiled
or interpreted as was decided when triton was imported, maybe by somebody else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

LARGEST_KERNEL = 11
_PIXELS, _CHANNELS = 32, 32  # of a tile
_CHUNKS = 64  # of the weight gradient, per row of the kernel and block of channels


@triton.jit
def _convolve(
    x, weight, bias, y,
    channels, height, width, out_height, out_width, pad_h, pad_w,
    x_n, x_h, x_w, y_n, y_h, y_w,
    KH: tl.constexpr, KW: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr,
    BIAS: tl.constexpr, SUM: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    line = tl.program_id(0)
    n = (line // out_height).to(tl.int64)
    row = line % out_height
    column = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside_c = c < channels
    total = tl.full((PIXELS, CHANNELS), 0, SUM)
    if BIAS:
        total += tl.load(bias + c, mask=inside_c, other=0).to(SUM)[None, :]
    for i in range(KH):
        h = row + i * DH - pad_h
        from_row = x + n * x_n + h.to(tl.int64) * x_h
        lines = column * 0 + h  # a vector, since the interpreter's `&` rejects scalars
        inside_h = (lines >= 0) & (lines < height)
        for j in tl.static_range(KW):
            w = column + j * DW - pad_w
            inside = ((w >= 0) & (w < width) & inside_h)[:, None] & inside_c[None, :]
            pixels = tl.load(
                from_row + w.to(tl.int64)[:, None] * x_w + c[None, :], mask=inside, other=0
            )
            tap = tl.load(weight + (i * KW + j) * channels + c, mask=inside_c, other=0)
            total += pixels.to(SUM) * tap.to(SUM)[None, :]
    to = y + n * y_n + row.to(tl.int64) * y_h + column.to(tl.int64)[:, None] * y_w + c[None, :]
    inside = (column < out_width)[:, None] & inside_c[None, :]
    tl.store(to, total.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _reduce_weight(
    x, grad, partial,
    lines, channels, height, width, out_height, out_width, pad_h, pad_w, line_tiles, chunks,
    x_n, x_h, x_w, g_n, g_h, g_w,
    KH: tl.constexpr, KW: tl.constexpr, DH: tl.constexpr, DW: tl.constexpr,
    COLUMNS: tl.constexpr, SUM: tl.constexpr, PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    i = tl.program_id(1)
    c = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside_c = c < channels
    tap = tl.arange(0, COLUMNS)
    total = tl.full((COLUMNS, CHANNELS), 0, SUM)
    for tile in range(chunk, lines * line_tiles, chunks):
        line = tile // line_tiles
        n = (line // out_height).to(tl.int64)
        row = line % out_height
        column = (tile % line_tiles) * PIXELS + tl.arange(0, PIXELS)
        h = row + i * DH - pad_h
        rows = column * 0 + h
        inside_w = (column < out_width) & (rows >= 0) & (rows < height)
        inside_g = inside_w[:, None] & inside_c[None, :]
        out = tl.load(
            grad + n * g_n + row.to(tl.int64) * g_h + column.to(tl.int64)[:, None] * g_w
            + c[None, :],
            mask=inside_g, other=0,
        ).to(SUM)  # fmt: skip
        from_row = x + n * x_n + h.to(tl.int64) * x_h
        for j in tl.static_range(KW):
            w = column + j * DW - pad_w
            inside = ((w >= 0) & (w < width))[:, None] & inside_g
            pixels = tl.load(
                from_row + w.to(tl.int64)[:, None] * x_w + c[None, :], mask=inside, other=0
            )
            product = tl.reduce(pixels.to(SUM) * out, 0, tl.standard._sum_combine)
            total += tl.where((tap == j)[:, None], product[None, :], 0.0)
    # [chunk][kernel row][kernel column][channel]
    to = partial + ((chunk * KH + i) * KW + tap).to(tl.int64)[:, None] * channels + c[None, :]
    tl.store(to, total, mask=(tap < KW)[:, None] & inside_c[None, :])


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Return the result at stride 1; see ``mmattn.ops.depthwise_conv2d``."""
    kernel = weight.shape[2:]
    size = [
        s + 2 * p - d * (k - 1)
        for s, p, d, k in zip(x.shape[2:], padding, dilation, kernel, strict=True)
    ]
    return _run(x, weight, bias, size, padding, dilation)


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    padding: Sequence[int],
    dilation: Sequence[int],
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of x, weight and bias, as empty tensors where not needed."""
    empty = x.new_empty(0)
    grad_x = grad_weight = empty
    if need_input:
        mirrored = [
            d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True)
        ]
        grad_x = _run(grad, weight.flip(2, 3), None, x.shape[2:], mirrored, dilation)
    if need_weight or need_bias:
        grad_weight = _run_reduction(grad, x, weight, padding, dilation)
    grad_bias = grad.sum((0, 2, 3), dtype=_sum_dtype(grad)).to(grad.dtype) if need_bias else empty
    return grad_x, grad_weight, grad_bias


def _run(x: Tensor, weight: Tensor, bias: Tensor | None, size, padding, dilation) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    n, channels, height, width = x.shape
    kernel = weight.shape[2:]
    y = torch.empty(
        (n, channels, *size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last
    )
    if y.numel() == 0:
        return y
    taps = weight.reshape(channels, -1).t().contiguous()  # [tap][channel]
    grid = (n * size[0], triton.cdiv(size[1], _PIXELS), triton.cdiv(channels, _CHANNELS))
    with torch.cuda.device_of(x):
        _convolve[grid](
            x, taps, taps if bias is None else bias.contiguous(), y,
            channels, height, width, size[0], size[1], padding[0], padding[1],
            x.stride(0), x.stride(2), x.stride(3), y.stride(0), y.stride(2), y.stride(3),
            KH=kernel[0], KW=kernel[1], DH=dilation[0], DW=dilation[1],
            BIAS=bias is not None, SUM=_sum_type(x), PIXELS=_PIXELS, CHANNELS=_CHANNELS,
        )  # fmt: skip
    return y


def _run_reduction(grad: Tensor, x: Tensor, weight: Tensor, padding, dilation) -> Tensor:
    x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
    n, channels, height, width = x.shape
    out_height, out_width = grad.shape[2:]
    kernel = weight.shape[2:]
    if grad.numel() == 0:
        return weight.new_zeros(weight.shape)
    line_tiles = triton.cdiv(out_width, _PIXELS)
    chunks = min(_CHUNKS, n * out_height * line_tiles)
    partial = x.new_empty((chunks, *kernel, channels), dtype=_sum_dtype(x))
    with torch.cuda.device_of(x):
        _reduce_weight[(chunks, kernel[0], triton.cdiv(channels, _CHANNELS))](
            x, grad, partial,
            n * out_height, channels, height, width, out_height, out_width, padding[0], padding[1],
            line_tiles, chunks,
            x.stride(0), x.stride(2), x.stride(3),
            grad.stride(0), grad.stride(2), grad.stride(3),
            KH=kernel[0], KW=kernel[1], DH=dilation[0], DW=dilation[1],
            COLUMNS=triton.next_power_of_2(kernel[1]), SUM=_sum_type(x),
            PIXELS=_PIXELS, CHANNELS=_CHANNELS,
        )  # fmt: skip
    return partial.sum(0).permute(2, 0, 1).unsqueeze(1).to(weight.dtype).contiguous()


def _sum_dtype(t: Tensor) -> torch.dtype:
    return torch.float64 if t.dtype == torch.float64 else torch.float32


def _sum_type(t: Tensor):
    return tl.float64 if t.dtype == torch.float64 else tl.float32


def ahead_of_time() -> list[tuple]:
    """Return kernels with argument types and constants, for ``tools/check_gpu_kernels.py``."""
    strides = ["x_n", "x_h", "x_w"]
    sizes = ["channels", "height", "width", "out_height", "out_width", "pad_h", "pad_w"]
    taps = {"KH": 7, "KW": 7, "DH": 3, "DW": 3, "PIXELS": _PIXELS, "CHANNELS": _CHANNELS}
    cases = []
    for element in ("fp32", "bf16", "fp16"):
        pointers = dict.fromkeys(["x", "weight", "bias", "y"], f"*{element}")
        numbers = dict.fromkeys([*sizes, *strides, "y_n", "y_h", "y_w"], "i32")
        cases.append((_convolve, pointers | numbers, taps | {"BIAS": True, "SUM": tl.float32}))
        pointers = {"x": f"*{element}", "grad": f"*{element}", "partial": "*fp32"}
        more = ["lines", *sizes, "line_tiles", "chunks", *strides, "g_n", "g_h", "g_w"]
        numbers = dict.fromkeys(more, "i32")
        cases.append((_reduce_weight, pointers | numbers, taps | {"COLUMNS": 8, "SUM": tl.float32}))
    return cases
