"""Multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from .._library import autocast_off, exporting
from . import reference
from .op import operator as operator

_GRAPHS = {"grid_sample": reference.forward, "gather": reference.forward_by_gather}
_graph = "grid_sample"


@contextmanager
def export_graph(name: str) -> Iterator[None]:
    """Choose the operators that exported graphs hold, while the context lasts.

    Args:
        name: ``"grid_sample"`` (the default: one ``GridSample`` per level) or ``"gather"`` (row
            lookups and arithmetic only, for runtimes that lack or mistreat grid sampling).

    Raises:
        ValueError: The name is neither.

    Example:
        >>> with export_graph("gather"):
        ...     pass  # torch.onnx.export(model, ...)
    """
    global _graph
    if name not in _GRAPHS:
        raise ValueError(f"export_graph: unknown graph {name!r}, choose from {', '.join(_GRAPHS)}")
    before, _graph = _graph, name
    try:
        yield
    finally:
        _graph = before


def multi_scale_deformable_attention(
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
    level_start_index: Sequence[int] | None = None,
) -> Tensor:
    """Let each query read a few points of every level of a pyramid, and sum them with weights.

        y[b, q, m] = sum_lp attention_weights[b, q, m, l, p] value_l[b, m](locations[b, q, m, l, p])

    Equation 3 of the paper between its two projections: maps are read bilinearly, and are 0 beyond
    their edges. Time grows with B Q M L P D and not with the maps' sizes. Backward keeps the
    inputs and nothing else.

    ``value`` decides the precision of the result: half precisions are summed in float32 and rounded
    once. Coordinates and weights are always computed in float32 at least: rounded to bfloat16, a
    coordinate would be wrong by a third of a pixel in a map 167 wide. Exported graphs hold standard
    operators; see ``export_graph``.

    Args:
        value: The flattened maps of all levels, one after the other. Shape (B, N, M, D) for M heads
            of D channels.
        spatial_shapes: (height, width) of each of the L levels, as whole numbers: a tensor would
            break graphs, and make the host wait for a GPU.
        sampling_locations: Where to read, as (x, y); 0 and 1 are the map's edges, so that a pixel's
            centre lies at (index + 0.5) / size. Shape (B, Q, M, L, P, 2).
        attention_weights: Usually a softmax over L and P. Shape (B, Q, M, L, P).
        level_start_index: Where each level begins in ``value``; by default they follow closely.

    Returns:
        What each query has read, in value's dtype. Shape (B, Q, M D).

    Raises:
        TypeError: A tensor is not floating point, or a size is not a whole number.
        ValueError: Shapes, devices or levels do not fit.

    Example:
        >>> value = torch.zeros(1, 4 * 6 + 2 * 3, 8, 32)
        >>> locations, weights = torch.rand(1, 5, 8, 2, 4, 2), torch.rand(1, 5, 8, 2, 4)
        >>> shapes = [(4, 6), (2, 3)]
        >>> multi_scale_deformable_attention(value, shapes, locations, weights).shape
        torch.Size([1, 5, 256])
    """
    _check_tensors(value, sampling_locations, attention_weights)
    shapes, starts = _check_levels(value, spatial_shapes, level_start_index)
    if len(starts) != attention_weights.shape[3]:
        raise ValueError(
            f"{_NAME}: spatial_shapes has {len(starts)} levels, attention_weights "
            f"{attention_weights.shape[3]}"
        )
    precise = torch.float64 if value.dtype == torch.float64 else torch.float32
    with autocast_off(value.device.type):
        locations, weights = sampling_locations.to(precise), attention_weights.to(precise)
        if exporting():
            return _GRAPHS[_graph](value, locations, weights, shapes, starts)
        return torch.ops.mmattn.multi_scale_deformable_attention(
            value, locations, weights, shapes, starts
        )


_NAME = "multi_scale_deformable_attention"


def _check_tensors(value: Tensor, locations: Tensor, weights: Tensor) -> None:
    named = {"value": value, "sampling_locations": locations, "attention_weights": weights}
    for (name, tensor), dim, letters in zip(
        named.items(), (4, 6, 5), ("B, N, M, D", "B, Q, M, L, P, 2", "B, Q, M, L, P"), strict=True
    ):
        if not tensor.is_floating_point():
            raise TypeError(f"{_NAME}: {name} must be floating point, got {tensor.dtype}")
        if tensor.dim() != dim:
            raise ValueError(
                f"{_NAME}: {name} must have {dim} dimensions ({letters}), got shape "
                f"{tuple(tensor.shape)}"
            )
        if tensor.device != value.device:
            raise ValueError(
                f"{_NAME}: value and {name} must be on one device, got {value.device} and "
                f"{tensor.device}"
            )
    batch, _, heads, _ = value.shape
    if locations.shape[0] != batch or locations.shape[2] != heads or locations.shape[5] != 2:
        raise ValueError(
            f"{_NAME}: sampling_locations must have shape (B, Q, M, L, P, 2) with B = {batch} and "
            f"M = {heads}, got {tuple(locations.shape)}"
        )
    if weights.shape != locations.shape[:5]:
        raise ValueError(
            f"{_NAME}: attention_weights must have the shape of sampling_locations without the "
            f"last dimension, {tuple(locations.shape[:5])}, got {tuple(weights.shape)}"
        )


def _check_levels(
    value: Tensor, spatial_shapes: Sequence[Sequence[int]], starts: Sequence[int] | None
) -> tuple[list[int], list[int]]:
    """Flat shapes and starts of the levels."""
    if isinstance(spatial_shapes, Tensor) or isinstance(starts, Tensor):
        raise TypeError(f"{_NAME}: sizes must be whole numbers, not tensors: pass shapes.tolist()")
    shapes: list[int] = []
    for shape in spatial_shapes:
        if len(shape) != 2:
            raise ValueError(f"{_NAME}: spatial_shapes must hold (height, width), got {shape!r}")
        for size in shape:
            if not isinstance(size, (int, torch.SymInt)):
                raise TypeError(f"{_NAME}: sizes must be whole numbers, got {size!r}")
            if size < 1:
                raise ValueError(f"{_NAME}: sizes must be at least 1, got {shape!r}")
            shapes.append(size)
    areas = [height * width for height, width in zip(shapes[::2], shapes[1::2], strict=True)]
    pixels = value.shape[1]
    if starts is None:
        if sum(areas) != pixels:
            raise ValueError(
                f"{_NAME}: the levels {spatial_shapes} have {sum(areas)} pixels, value has {pixels}"
            )
        return shapes, [sum(areas[:level]) for level in range(len(areas))]
    starts, end = list(starts), 0
    if len(starts) != len(areas):
        raise ValueError(
            f"{_NAME}: {len(areas)} levels but {len(starts)} numbers in level_start_index"
        )
    for start, area in zip(starts, areas, strict=True):
        if not isinstance(start, (int, torch.SymInt)):
            raise TypeError(f"{_NAME}: level_start_index must hold whole numbers, got {start!r}")
        if start < end or start + area > pixels:
            raise ValueError(
                f"{_NAME}: the level of {area} pixels that begins at {start} overlaps the one "
                f"before it or ends beyond value's {pixels} pixels"
            )
        end = start + area
    return shapes, starts
