"""Deformable convolution in exported graphs: ONNX's DeformConv, or standard torch operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from .._operator import is_tracing

FORMS = ("deform_conv", "grid_sample")
_form = "deform_conv"
_in_programs = False


@contextmanager
def export_deform_conv_as(form: str, *, in_programs: bool = False) -> Iterator[None]:
    """Choose the operators that exported ONNX graphs hold.

    Args:
        form: ``"deform_conv"`` (the default) for one DeformConv node (opset 19), or
            ``"grid_sample"`` for GridSample and matrix products, which runtimes without DeformConv
            need.
        in_programs: Whether graphs of ``torch.export`` hold DeformConv too. torch has no operator
            for it, so that such a program can be translated to ONNX and not be run; without it
            they hold the second form.

    Raises:
        ValueError: The form is unknown.

    Example:
        >>> with export_deform_conv_as("grid_sample"):
        ...     pass  # torch.onnx.export(model, ...)
    """
    global _form, _in_programs
    if form not in FORMS:
        raise ValueError(
            f"export_deform_conv_as: unknown form {form!r}, choose from {', '.join(FORMS)}"
        )
    before = _form, _in_programs
    _form, _in_programs = form, in_programs
    try:
        yield
    finally:
        _form, _in_programs = before


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
    """Compute with operators that a graph may hold; arguments are checked already."""
    geometry = (stride, padding, dilation, groups, deform_groups)
    onnx = (torch.onnx.is_in_onnx_export() or _in_programs) and not is_tracing()
    if onnx and _form == "deform_conv":
        return _onnx_node(x, offset, mask, weight, bias, *geometry)
    return _grid_sample_graph(x, offset, mask, weight, bias, *geometry)


def _onnx_node(x, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups):
    # DeformConv requires one type; half-precision images are convolved in that of the offsets.
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
        """Return rows or columns that the undeformed kernel reads. Shape (size, kernel)."""
        kernel = torch.arange(weight.shape[2 + d], device=x.device, dtype=offset.dtype)
        steps = torch.arange(size, device=x.device, dtype=offset.dtype)[:, None] * stride[d]
        return steps - padding[d] + kernel * dilation[d]

    rows = axis(0, out_height).T[:, None, :, None].expand(-1, weight.shape[3], -1, 1)
    columns = axis(1, out_width).T[None, :, None, :].expand(weight.shape[2], -1, 1, -1)
    y = rows.flatten(0, 1) + points[:, :, 0]  # (N G, taps, Ho, Wo)
    x_ = columns.flatten(0, 1) + points[:, :, 1]
    # Pixel centres are at (i + 1/2) / size of the image, which spans -1 to 1.
    grid = torch.stack(((2 * x_ + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    images = x.reshape(batch * deform_groups, -1, height, width).to(offset.dtype)
    read = F.grid_sample(
        images, grid.flatten(2, 3), mode="bilinear", padding_mode="zeros", align_corners=False
    )  # (N G, C / G, taps, Ho Wo)
    if mask is not None:
        read = read * mask.reshape(batch * deform_groups, 1, taps, -1)
    read = read.reshape(batch, groups, channels // groups * taps, -1)
    kernels = weight.to(offset.dtype).reshape(groups, weight.shape[0] // groups, -1)
    total = (kernels @ read).reshape(batch, weight.shape[0], out_height, out_width)
    if bias is not None:
        total = total + bias.to(total.dtype)[:, None, None]
    return total.to(x.dtype)
