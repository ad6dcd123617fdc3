"""Multi-scale deformable attention in plain torch (Zhu et al., arXiv:2010.04159, equation 3).

Each query reads a few points per level of a feature pyramid and sums what it reads:
    y[q, h] = sum_{l, k} A[q, h, l, k] v[l, h](p[q, h, l, k])
where v is read bilinearly and is 0 outside the feature map. Written twice: with ``grid_sample``
(the oracle, also exported) and with row lookups, for runtimes that lack or mistreat grid sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .._derivatives import differentiate


def levels(
    spatial_shapes: Sequence[int], level_starts: Sequence[int]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield index, height, width and first pixel of each level; ``spatial_shapes`` is flat."""
    for index, start in enumerate(level_starts):
        yield index, spatial_shapes[2 * index], spatial_shapes[2 * index + 1], start


def forward(
    value: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    spatial_shapes: Sequence[int],
    level_starts: Sequence[int],
) -> Tensor:
    """Return the result; see ``mmattn.ops.multi_scale_deformable_attention``.

    ``spatial_shapes`` is flat: h0, w0, h1, w1, ...
    """
    batch, _, heads, channels = value.shape
    queries = sampling_locations.shape[1]
    wide = value.to(sampling_locations.dtype)
    output = wide.new_zeros(batch * heads, channels, queries)
    if 0 in (batch, heads, channels, queries, attention_weights.shape[4]):
        return output.view(batch, queries, heads * channels).to(value.dtype)  # nothing is read
    grids = 2 * sampling_locations - 1
    for level, height, width, start in levels(spatial_shapes, level_starts):
        feature = wide[:, start : start + height * width].permute(0, 2, 3, 1)
        feature = feature.reshape(batch * heads, channels, height, width)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (B heads, Q, points, 2)
        read = F.grid_sample(feature, grid, align_corners=False)  # (B heads, C, Q, points)
        weight = attention_weights[:, :, :, level].transpose(1, 2).flatten(0, 1)
        output = output + (read * weight.unsqueeze(1)).sum(dim=-1)
    output = output.view(batch, heads * channels, queries).transpose(1, 2)
    return output.to(value.dtype).contiguous()


def forward_by_gather(
    value: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    spatial_shapes: Sequence[int],
    level_starts: Sequence[int],
) -> Tensor:
    """Return the same as ``forward``, from lookups of whole rows: four corners per point."""
    batch, pixels, heads, channels = value.shape
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    table = value.to(sampling_locations.dtype).reshape(-1, channels)  # (B N heads, C)
    image = torch.arange(batch, device=value.device).view(-1, 1, 1, 1)
    head = torch.arange(heads, device=value.device).view(1, 1, -1, 1)
    output = table.new_zeros(batch, queries, heads, channels)
    for level, height, width, start in levels(spatial_shapes, level_starts):
        weight = attention_weights[:, :, :, level]
        columns = _neighbours(sampling_locations[:, :, :, level, :, 0], width)
        rows = _neighbours(sampling_locations[:, :, :, level, :, 1], height)
        for row, row_share in rows:
            for column, column_share in columns:
                index = ((image * pixels + start) + row * width + column) * heads + head
                read = table.index_select(0, index.reshape(-1))
                read = read.view(batch, queries, heads, points, channels)
                share = weight * row_share * column_share
                output = output + (read * share.unsqueeze(-1)).sum(dim=3)
    return output.flatten(2).to(value.dtype)


def _neighbours(location: Tensor, size: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return the two pixels along one axis between which each point lies, and their weights.

    A pixel beyond the feature map is replaced by one inside, with weight 0.
    """
    position = location * size - 0.5
    first = position.floor()
    second = first + 1
    shares = (second - position, position - first)
    return tuple(
        # Clamped before the conversion: far positions do not fit into whole numbers.
        (pixel.clamp(0, size - 1).long(), share * ((pixel >= 0) & (pixel < size)))
        for pixel, share in zip((first, second), shares, strict=True)
    )


def backward(
    grad: Tensor,
    value: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    spatial_shapes: Sequence[int],
    level_starts: Sequence[int],
    need_value: bool,
    need_locations: bool,
    need_weights: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of value, locations and weights, as empty tensors where not needed."""
    inputs = (value, sampling_locations, attention_weights)
    needs = (need_value, need_locations, need_weights)
    needed = [index for index, need in enumerate(needs) if need]

    def function(*given: Tensor) -> Tensor:
        tensors = list(inputs)
        for index, tensor in zip(needed, given, strict=True):
            tensors[index] = tensor
        return forward(tensors[0], tensors[1], tensors[2], spatial_shapes, level_starts)

    grads = [tensor.new_empty(0) for tensor in inputs]
    gradients: Sequence[Tensor | None] = [None] * len(needed)
    if needed and grad.numel() > 0 and attention_weights.shape[4] > 0:  # else nothing is read
        gradients = differentiate(function, [inputs[index] for index in needed], [grad])
    for index, gradient in zip(needed, gradients, strict=True):
        gradient = torch.zeros_like(inputs[index]) if gradient is None else gradient
        grads[index] = gradient.contiguous()
    return grads[0], grads[1], grads[2]
