"""Deformable convolution in exported graphs: ONNX's DeformConv, or standard torch operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

FORMS = ("deform_conv", "grid_sample")
_form = "deform_conv"


@contextmanager
def export_deform_conv_as(form: str) -> Iterator[None]:
    """Choose what an ONNX graph holds.

    Args:
        form: ``"deform_conv"``, one DeformConv node (opset 19; the default), or ``"grid_sample"``,
            GridSample and matrix products, for runtimes without DeformConv. ``torch.export``
            always gets the second, as torch has no operator for the first.

    Raises:
        ValueError: The form is neither.
    """
    global _form
    if form not in FORMS:
        raise ValueError(f"export_deform_conv_as: choose from {', '.join(FORMS)}, got {form!r}")
    before, _form = _form, form
    try:
        yield
    finally:
        _form = before


def exported(
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
) -> Tensor:
    """The operator in a graph. Arguments as of ``modulated_deform_conv2d``, already checked."""
    geometry = (stride, padding, dilation, groups, deform_groups)
    onnx = torch.onnx.is_in_onnx_export() and not torch.jit.is_tracing()
    if onnx and _form == "deform_conv":
        return _onnx_node(x, offset, mask, weight, bias, *geometry)
    return _grid_sample_graph(x, offset, mask, weight, bias, *geometry)


def _onnx_node(x, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups):
    # DeformConv wants one type; half-precision pictures are convolved in that of the offsets.
    wide = [None if t is None else t.to(offset.dtype) for t in (x, weight, offset, bias, mask)]
    attributes = {
        "kernel_shape": list(weight.shape[2:]), "strides": list(stride),
        "pads": [*padding, *padding], "dilations": list(dilation), "group": groups,
        "offset_group": deform_groups,
    }  # fmt: skip
    shape = (x.shape[0], weight.shape[0], *offset.shape[2:])
    y = torch.onnx.ops.symbolic(
        "DeformConv", wide, attributes, dtype=offset.dtype, shape=shape, version=19
    )
    return y.to(x.dtype)


def _grid_sample_graph(
    x, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups
):
    batch, channels, height, width = x.shape
    taps = weight.shape[2] * weight.shape[3]
    out_height, out_width = offset.shape[2:]
    points = offset.reshape(batch * deform_groups, taps, 2, out_height, out_width)

    def axis(d: int, size) -> Tensor:
        """Where the undeformed kernel reads: (size, kernel)."""
        kernel = torch.arange(weight.shape[2 + d], device=x.device, dtype=offset.dtype)
        steps = torch.arange(size, device=x.device, dtype=offset.dtype)[:, None] * stride[d]
        return steps - padding[d] + kernel * dilation[d]

    rows = axis(0, out_height).T[:, None, :, None].expand(-1, weight.shape[3], -1, 1)
    columns = axis(1, out_width).T[None, :, None, :].expand(weight.shape[2], -1, 1, -1)
    y = rows.flatten(0, 1) + points[:, :, 0]  # (N G, taps, Ho, Wo)
    x_ = columns.flatten(0, 1) + points[:, :, 1]
    # Pixel centres are at (i + 1/2) / size of the picture, which spans -1 to 1.
    grid = torch.stack(((2 * x_ + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    pictures = x.reshape(batch * deform_groups, -1, height, width).to(offset.dtype)
    read = F.grid_sample(
        pictures, grid.flatten(2, 3), mode="bilinear", padding_mode="zeros", align_corners=False
    )  # (N G, C / G, taps, Ho Wo)
    if mask is not None:
        read = read * mask.reshape(batch * deform_groups, 1, taps, -1)
    read = read.reshape(batch, groups, channels // groups * taps, -1)
    kernels = weight.to(offset.dtype).reshape(groups, weight.shape[0] // groups, -1)
    total = (kernels @ read).reshape(batch, weight.shape[0], out_height, out_width)
    if bias is not None:
        total = total + bias.to(total.dtype)[:, None, None]
    return total.to(x.dtype)
