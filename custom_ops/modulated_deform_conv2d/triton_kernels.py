"""Deformable convolution in Triton, fused: numbers that are read never leave the registers.

A program has a tile of output pixels and a block of channels. For each tap it computes the points
once (float32, or float64 for float64), blends the four corners in that precision, and multiplies
with the tap's weights in the image's; sums are float32. The gradients of offsets and mask are
sums over channels within one program; that of the image is added atomically, so its last bits
may differ from run to run; that of the weight is summed by chunks of tiles, in order.

``tl.full`` and ``tl.reduce`` stand where ``tl.zeros`` and ``tl.sum`` could: the latter are compiled
or interpreted as was decided when triton was imported, maybe by somebody else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

_PIXELS, _OUT, _DEPTH = 64, 128, 32  # of a tile: output pixels, output channels, input channels
_CHUNKS = 16  # of the weight gradient
_WARPS = 8  # with 4, the tile's points and sums do not fit into the registers


@triton.jit
def _locate(
    offset, mask, plane, pixel, live, row, column, height, width, out_pixels,
    MODULATED: tl.constexpr,
):  # fmt: skip
    """Return a point's top left corner, distances, modulation, and whether it is near the image."""
    at = offset + plane * 2 * out_pixels + pixel
    y = row + tl.load(at, mask=live, other=0)
    x = column + tl.load(at + out_pixels, mask=live, other=0)
    if MODULATED:
        m = tl.load(mask + plane * out_pixels + pixel, mask=live, other=0)
    else:
        m = y * 0 + 1
    # NaN must not pass for a point outside.
    m = tl.where((y != y) | (x != x), y + x, m)
    inside = (y > -1) & (y < height) & (x > -1) & (x < width) & live
    y = tl.where(inside, y, 0)
    x = tl.where(inside, x, 0)
    top = tl.floor(y)
    left = tl.floor(x)
    return top.to(tl.int32), left.to(tl.int32), y - top, x - left, m, inside


@triton.jit
def _place(row, column, inside, height, width, channels):
    """Return a corner's pixel in a channels-last image, and whether it is inside."""
    inside = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return (row.to(tl.int64) * width + column) * channels, inside


@triton.jit
def _read(x, top, left, down, right, m, inside, height, width, channels, c, inside_c):
    """Read the image at the points: (pixels, channels)."""
    a, in_a = _place(top, left, inside, height, width, channels)
    b, in_b = _place(top, left + 1, inside, height, width, channels)
    d, in_d = _place(top + 1, left, inside, height, width, channels)
    e, in_e = _place(top + 1, left + 1, inside, height, width, channels)
    va = tl.load(x + a[:, None] + c[None, :], mask=in_a[:, None] & inside_c[None, :], other=0)
    vb = tl.load(x + b[:, None] + c[None, :], mask=in_b[:, None] & inside_c[None, :], other=0)
    vd = tl.load(x + d[:, None] + c[None, :], mask=in_d[:, None] & inside_c[None, :], other=0)
    ve = tl.load(x + e[:, None] + c[None, :], mask=in_e[:, None] & inside_c[None, :], other=0)
    total = va.to(m.dtype) * ((1 - down) * (1 - right) * m)[:, None]
    total += vb.to(m.dtype) * ((1 - down) * right * m)[:, None]
    total += vd.to(m.dtype) * (down * (1 - right) * m)[:, None]
    total += ve.to(m.dtype) * (down * right * m)[:, None]
    return total


@triton.jit
def _convolve(
    x, offset, mask, weight, bias, y,
    tiles, height, width, out_width, out_pixels, channels, group_in, group_out, deform_in,
    deform_groups, groups, out_blocks, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
    segments, segment, y_n, y_pixel, y_channel,
    TAPS: tl.constexpr, KW: tl.constexpr, MODULATED: tl.constexpr, BIAS: tl.constexpr,
    PIXELS: tl.constexpr, OUT: tl.constexpr, DEPTH: tl.constexpr, PRODUCT: tl.constexpr,
):  # fmt: skip
    n = (tl.program_id(0) // tiles).to(tl.int64)
    pixel = (tl.program_id(0) % tiles) * PIXELS + tl.arange(0, PIXELS)
    live = pixel < out_pixels
    group = tl.program_id(1) // out_blocks
    o = (tl.program_id(1) % out_blocks) * OUT + tl.arange(0, OUT)
    inside_o = o < group_out
    image = x + n * height * width * channels
    total = tl.full((PIXELS, OUT), 0, offset.dtype.element_ty)
    for tap in range(TAPS):
        row = pixel // out_width * stride_h - pad_h + tap // KW * dilation_h
        column = pixel % out_width * stride_w - pad_w + tap % KW * dilation_w
        for s in range(segments):  # channels that share group and deformable group
            first = group * group_in + s * segment
            plane = (n * deform_groups + first // deform_in) * TAPS + tap
            top, left, down, right, m, inside = _locate(
                offset, mask, plane, pixel, live, row, column, height, width, out_pixels, MODULATED
            )
            for begin in range(0, segment, DEPTH):
                c = begin + tl.arange(0, DEPTH)
                inside_c = c < segment
                columns = _read(
                    image, top, left, down, right, m, inside, height, width, channels,
                    first + c, inside_c,
                )  # fmt: skip
                line = (
                    (tap * groups + group).to(tl.int64) * group_in + s * segment + c
                ) * group_out
                taps = tl.load(
                    weight + line[:, None] + o[None, :],
                    mask=inside_c[:, None] & inside_o[None, :], other=0,
                )  # fmt: skip
                total = tl.dot(
                    columns.to(x.dtype.element_ty).to(PRODUCT), taps.to(PRODUCT), total,
                    input_precision="ieee", out_dtype=total.dtype,
                )  # fmt: skip
    o += group * group_out
    if BIAS:
        total += tl.load(bias + o, mask=inside_o, other=0).to(total.dtype)[None, :]
    to = y + n * y_n + pixel.to(tl.int64)[:, None] * y_pixel + o.to(tl.int64)[None, :] * y_channel
    tl.store(to, total.to(y.dtype.element_ty), mask=live[:, None] & inside_o[None, :])


@triton.jit
def _add_corner(
    x, grad_x, row, column, weight, inside, columns, height, width, channels, c, inside_c,
    NEED_X: tl.constexpr,
):  # fmt: skip
    """Return corner times gradient, summed over channels; add to the image's gradient."""
    at, inside = _place(row, column, inside, height, width, channels)
    within = inside[:, None] & inside_c[None, :]
    place = at[:, None] + c[None, :]
    if NEED_X:
        tl.atomic_add(grad_x + place, columns * weight[:, None], mask=within, sem="relaxed")
    value = tl.load(x + place, mask=within, other=0).to(columns.dtype)
    return tl.reduce(columns * value, 1, tl.standard._sum_combine)


@triton.jit
def _differentiate_reading(
    grad, x, offset, mask, weight, grad_x, grad_offset, grad_mask,
    tiles, height, width, out_width, out_pixels, channels, group_in, group_out, deform_in,
    deform_groups, groups, out_channels, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w,
    segments, segment,
    TAPS: tl.constexpr, KW: tl.constexpr, MODULATED: tl.constexpr,
    NEED_X: tl.constexpr, NEED_OFFSET: tl.constexpr,
    PIXELS: tl.constexpr, OUT: tl.constexpr, DEPTH: tl.constexpr, PRODUCT: tl.constexpr,
):  # fmt: skip
    n = (tl.program_id(0) // tiles).to(tl.int64)
    pixel = (tl.program_id(0) % tiles) * PIXELS + tl.arange(0, PIXELS)
    live = pixel < out_pixels
    tap = tl.program_id(1)
    deform_group = tl.program_id(2)
    image = n * height * width * channels
    plane = (n * deform_groups + deform_group) * TAPS + tap
    row = pixel // out_width * stride_h - pad_h + tap // KW * dilation_h
    column = pixel % out_width * stride_w - pad_w + tap % KW * dilation_w
    top, left, down, right, m, inside = _locate(
        offset, mask, plane, pixel, live, row, column, height, width, out_pixels, MODULATED
    )
    up = 1 - down
    back = 1 - right
    dot_a = m * 0
    dot_b = dot_a
    dot_d = dot_a
    dot_e = dot_a
    for s in range(segments):
        first = deform_group * deform_in + s * segment
        group = first // group_in
        for begin in range(0, segment, DEPTH):
            c = begin + tl.arange(0, DEPTH)
            inside_c = c < segment
            c += first
            line = (tap * groups + group).to(tl.int64) * group_in + c - group * group_in
            columns = tl.full((PIXELS, DEPTH), 0, offset.dtype.element_ty)
            for out in range(0, group_out, OUT):
                o = out + tl.arange(0, OUT)
                inside_o = o < group_out
                above = tl.load(
                    grad + (n * out_pixels + pixel)[:, None] * out_channels
                    + (group * group_out + o)[None, :],
                    mask=live[:, None] & inside_o[None, :], other=0,
                )  # fmt: skip
                taps = tl.load(
                    weight + (line * group_out)[None, :] + o[:, None],
                    mask=inside_c[None, :] & inside_o[:, None], other=0,
                )  # fmt: skip
                columns = tl.dot(
                    above.to(PRODUCT), taps.to(PRODUCT), columns, input_precision="ieee",
                    out_dtype=columns.dtype,
                )  # fmt: skip
            dot_a += _add_corner(
                x + image, grad_x + image, top, left, up * back * m, inside, columns,
                height, width, channels, c, inside_c, NEED_X,
            )  # fmt: skip
            dot_b += _add_corner(
                x + image, grad_x + image, top, left + 1, up * right * m, inside, columns,
                height, width, channels, c, inside_c, NEED_X,
            )  # fmt: skip
            dot_d += _add_corner(
                x + image, grad_x + image, top + 1, left, down * back * m, inside, columns,
                height, width, channels, c, inside_c, NEED_X,
            )  # fmt: skip
            dot_e += _add_corner(
                x + image, grad_x + image, top + 1, left + 1, down * right * m, inside,
                columns, height, width, channels, c, inside_c, NEED_X,
            )  # fmt: skip
    if NEED_OFFSET:
        to = grad_offset + plane * 2 * out_pixels + pixel
        tl.store(to, m * (back * (dot_d - dot_a) + right * (dot_e - dot_b)), mask=live)
        tl.store(to + out_pixels, m * (up * (dot_b - dot_a) + down * (dot_e - dot_d)), mask=live)
        if MODULATED:
            reading = up * (back * dot_a + right * dot_b) + down * (back * dot_d + right * dot_e)
            tl.store(grad_mask + plane * out_pixels + pixel, reading + m * 0, mask=live)


@triton.jit
def _differentiate_weight(
    grad, x, offset, mask, partial,
    tiles, all_tiles, chunks, height, width, out_width, out_pixels, channels, group_in, group_out,
    deform_in, deform_groups, groups, out_channels, out_blocks, stride_h, stride_w, pad_h, pad_w,
    dilation_h, dilation_w, segment, segment_blocks,
    TAPS: tl.constexpr, KW: tl.constexpr, MODULATED: tl.constexpr,
    PIXELS: tl.constexpr, OUT: tl.constexpr, DEPTH: tl.constexpr, PRODUCT: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0)
    tap = tl.program_id(1) // groups
    group = tl.program_id(1) % groups
    o = (tl.program_id(2) % out_blocks) * OUT + tl.arange(0, OUT)
    inside_o = o < group_out
    block = tl.program_id(2) // out_blocks
    c = block % segment_blocks * DEPTH + tl.arange(0, DEPTH)
    inside_c = c < segment
    c += block // segment_blocks * segment
    first = group * group_in + block // segment_blocks * segment
    total = tl.full((DEPTH, OUT), 0, offset.dtype.element_ty)
    for tile in range(chunk, all_tiles, chunks):
        n = (tile // tiles).to(tl.int64)
        pixel = tile % tiles * PIXELS + tl.arange(0, PIXELS)
        live = pixel < out_pixels
        row = pixel // out_width * stride_h - pad_h + tap // KW * dilation_h
        column = pixel % out_width * stride_w - pad_w + tap % KW * dilation_w
        plane = (n * deform_groups + first // deform_in) * TAPS + tap
        top, left, down, right, m, inside = _locate(
            offset, mask, plane, pixel, live, row, column, height, width, out_pixels, MODULATED
        )
        columns = _read(
            x + n * height * width * channels, top, left, down, right, m, inside, height, width,
            channels, group * group_in + c, inside_c,
        )  # fmt: skip
        above = tl.load(
            grad + (n * out_pixels + pixel)[:, None] * out_channels
            + (group * group_out + o)[None, :],
            mask=live[:, None] & inside_o[None, :], other=0,
        )  # fmt: skip
        total = tl.dot(
            tl.trans(columns.to(x.dtype.element_ty).to(PRODUCT)), above.to(PRODUCT), total,
            input_precision="ieee", out_dtype=total.dtype,
        )  # fmt: skip
    line = ((chunk * TAPS + tap) * groups + group).to(tl.int64) * group_in + c
    to = partial + line[:, None] * group_out + o[None, :]
    tl.store(to, total, mask=inside_c[:, None] & inside_o[None, :])


def forward(
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
    channels_last: bool,
) -> Tensor:
    """Return the result; see ``mmattn.ops.modulated_deform_conv2d``."""
    size = (x.shape[0], weight.shape[0], *offset.shape[2:])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    y = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=layout)
    if y.numel() == 0:
        return y
    facts = _facts(x, offset, mask, weight, stride, padding, dilation, groups, deform_groups)
    out_blocks = triton.cdiv(facts["group_out"], facts["OUT"])
    pixels = facts["out_pixels"]
    with torch.cuda.device_of(x):
        _convolve[(size[0] * facts["tiles"], groups * out_blocks)](
            _rows(x), offset.contiguous(), offset if mask is None else mask.contiguous(),
            _taps(weight, groups), weight if bias is None else bias, y,
            **facts, out_blocks=out_blocks, segments=facts["group_in"] // facts["segment"],
            y_n=size[1] * pixels, y_pixel=size[1] if channels_last else 1,
            y_channel=1 if channels_last else pixels, BIAS=bias is not None, num_warps=_WARPS,
        )  # fmt: skip
    return y


def backward(
    grad: Tensor,
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
    channels_last: bool,
    need_x: bool,
    need_offset: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, offset, mask, weight and bias, empty where not needed."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    sums = offset.dtype
    grad_offset = offset.new_zeros(offset.shape if need_offset else 0)
    grad_mask = offset.new_zeros(mask.shape if need_offset and mask is not None else 0)
    grad_bias = grad.sum((0, 2, 3), dtype=sums).to(weight.dtype) if need_bias else None
    pixels = torch.zeros(
        x.shape if need_x else (0, 1, 1, 1), dtype=sums, device=x.device
    ).contiguous(memory_format=torch.channels_last)
    kernels = weight.new_zeros(weight.shape if need_weight else 0)
    facts = _facts(x, offset, mask, weight, stride, padding, dilation, groups, deform_groups)
    facts["out_channels"] = weight.shape[0]
    tiles, segment = facts["tiles"], facts["segment"]
    tensors = (
        _rows(grad), _rows(x), offset.contiguous(),
        offset if mask is None else mask.contiguous(),
    )  # fmt: skip
    with torch.cuda.device_of(x):
        if grad.numel() and (need_x or need_offset):
            _differentiate_reading[(x.shape[0] * tiles, facts["TAPS"], deform_groups)](
                *tensors, _taps(weight, groups), pixels, grad_offset, grad_mask,
                **(facts | {"OUT": _DEPTH}), segments=facts["deform_in"] // segment, NEED_X=need_x,
                NEED_OFFSET=need_offset, num_warps=_WARPS,
            )  # fmt: skip
        if grad.numel() and need_weight:
            chunks = min(_CHUNKS, x.shape[0] * tiles)
            inner = (facts["TAPS"], groups, facts["group_in"], facts["group_out"])
            partial = torch.empty((chunks, *inner), dtype=sums, device=x.device)
            out_blocks = triton.cdiv(facts["group_out"], facts["OUT"])
            segment_blocks = triton.cdiv(segment, facts["DEPTH"])
            blocks = facts["group_in"] // segment * segment_blocks * out_blocks
            _differentiate_weight[(chunks, facts["TAPS"] * groups, blocks)](
                *tensors, partial, **facts, all_tiles=x.shape[0] * tiles, chunks=chunks,
                out_blocks=out_blocks, segment_blocks=segment_blocks, num_warps=_WARPS,
            )  # fmt: skip
            by_tap = partial.sum(0).permute(1, 3, 2, 0)  # (groups, O / groups, C / groups, taps)
            kernels = by_tap.reshape(weight.shape).to(weight.dtype).contiguous()
    grad_x = torch.empty_like(x, memory_format=layout).copy_(pixels) if need_x else x.new_empty(0)
    return (
        grad_x,
        grad_offset,
        grad_mask,
        kernels,
        weight.new_empty(0) if grad_bias is None else grad_bias,
    )


def _rows(t: Tensor) -> Tensor:
    """Return the image with the channels of each pixel beside each other."""
    return t.permute(0, 2, 3, 1).contiguous()


def _taps(weight: Tensor, groups: int) -> Tensor:
    """Return the weight as (taps, groups, C / groups, O / groups)."""
    by_group = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return by_group.permute(3, 0, 2, 1).contiguous()


def _facts(x, offset, mask, weight, stride, padding, dilation, groups, deform_groups) -> dict:
    """Return the arguments that the kernels share."""
    channels, height, width = x.shape[1:]
    group_in, deform_in = channels // groups, channels // deform_groups
    out_pixels = offset.shape[2] * offset.shape[3]
    return {
        "tiles": triton.cdiv(out_pixels, _PIXELS), "height": height, "width": width,
        "out_width": offset.shape[3], "out_pixels": out_pixels, "channels": channels,
        "group_in": group_in, "group_out": weight.shape[0] // groups, "deform_in": deform_in,
        "deform_groups": deform_groups, "groups": groups, "segment": math.gcd(group_in, deform_in),
        "stride_h": stride[0], "stride_w": stride[1], "pad_h": padding[0], "pad_w": padding[1],
        "dilation_h": dilation[0], "dilation_w": dilation[1],
        "TAPS": weight.shape[2] * weight.shape[3], "KW": weight.shape[3],
        "MODULATED": mask is not None, "PIXELS": _PIXELS, "OUT": _OUT, "DEPTH": _DEPTH,
        "PRODUCT": _product_type(x),
    }  # fmt: skip


def _product_type(x: Tensor):
    """Return the dtype of the products: the image's, but float32 for bfloat16 when interpreted."""
    if x.dtype == torch.bfloat16:
        return tl.bfloat16 if x.is_cuda else tl.float32
    return {torch.float16: tl.float16, torch.float32: tl.float32}.get(x.dtype, tl.float64)
