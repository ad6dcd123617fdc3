"""Checks of multi-scale deformable attention's arguments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .._checks import check_floating_point, check_same_device

OP = "multi_scale_deformable_attention"


def check_tensors(value: Tensor, sampling_locations: Tensor, attention_weights: Tensor) -> None:
    """Check dtypes, devices and shapes of the tensors.

    Raises:
        TypeError: A tensor is not floating point.
        ValueError: Shapes do not agree, or devices differ.
    """
    for name, tensor, axes in (
        ("value", value, "B, N, M, D"),
        ("sampling_locations", sampling_locations, "B, Q, M, L, P, 2"),
        ("attention_weights", attention_weights, "B, Q, M, L, P"),
    ):
        check_floating_point(OP, name, tensor)
        dim = len(axes.split(","))
        if tensor.dim() != dim:
            raise ValueError(
                f"{OP}: {name} must have {dim} dimensions ({axes}), got shape {tuple(tensor.shape)}"
            )
        check_same_device(OP, {"value": value, name: tensor})
    batch, _, heads, _ = value.shape
    shape = tuple(sampling_locations.shape)
    if shape[0] != batch or shape[2] != heads or shape[5] != 2:
        raise ValueError(
            f"{OP}: sampling_locations must have shape (B, Q, M, L, P, 2) with B = {batch} and "
            f"M = {heads}, got {shape}"
        )
    if tuple(attention_weights.shape) != shape[:5]:
        raise ValueError(
            f"{OP}: attention_weights must have the shape of sampling_locations without the last "
            f"dimension, {shape[:5]}, got {tuple(attention_weights.shape)}"
        )


def resolve_levels(
    pixels: int,
    num_levels: int,
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int] | None,
) -> tuple[list[int], list[int]]:
    """Check the levels of the pyramid and find where each begins.

    Args:
        pixels: Number of pixels in ``value``, all levels together.
        num_levels: Number of levels in the attention weights.
        spatial_shapes: Height and width of each level.
        level_start_index: First pixel of each level; by default each follows the one before.

    Returns:
        Flat shapes (h0, w0, h1, w1, ...), and the first pixel of each level.

    Raises:
        TypeError: A size is not a whole number.
        ValueError: The levels do not fit into ``value``, overlap, or are not ``num_levels``.
    """
    if isinstance(spatial_shapes, Tensor) or isinstance(level_start_index, Tensor):
        raise TypeError(
            f"{OP}: spatial_shapes and level_start_index must be whole numbers, not tensors; "
            "convert them with .tolist()"
        )
    shapes: list[int] = []
    for shape in spatial_shapes:
        if len(shape) != 2:
            raise ValueError(f"{OP}: spatial_shapes must hold (height, width), got {shape!r}")
        for size in shape:
            if not isinstance(size, (int, torch.SymInt)):
                raise TypeError(f"{OP}: sizes must be whole numbers, got {size!r}")
            if size < 1:
                raise ValueError(f"{OP}: sizes must be at least 1, got {shape!r}")
            shapes.append(size)
    areas = [height * width for height, width in zip(shapes[::2], shapes[1::2], strict=True)]
    starts = _starts(pixels, areas, spatial_shapes, level_start_index)
    if len(starts) != num_levels:
        raise ValueError(
            f"{OP}: spatial_shapes has {len(starts)} levels, attention_weights {num_levels}"
        )
    return shapes, starts


def _starts(
    pixels: int,
    areas: Sequence[int],
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int] | None,
) -> list[int]:
    if level_start_index is None:
        if sum(areas) != pixels:
            raise ValueError(
                f"{OP}: the levels {spatial_shapes} have {sum(areas)} pixels, value has {pixels}"
            )
        return [sum(areas[:level]) for level in range(len(areas))]
    starts, end = list(level_start_index), 0
    if len(starts) != len(areas):
        raise ValueError(
            f"{OP}: spatial_shapes has {len(areas)} levels, level_start_index {len(starts)}"
        )
    for start, area in zip(starts, areas, strict=True):
        if not isinstance(start, (int, torch.SymInt)):
            raise TypeError(f"{OP}: level_start_index must hold whole numbers, got {start!r}")
        if start < end or start + area > pixels:
            raise ValueError(
                f"{OP}: the level of {area} pixels that begins at {start} overlaps the one before "
                f"it or ends beyond value's {pixels} pixels"
            )
        end = start + area
    return starts
