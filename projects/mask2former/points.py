"""Logits of masks at points, with gradients, and the choice of points that teach most.

The logits of mask i at points p are m_i(p) = (E F)_i(p), read bilinearly. Reading is linear, so
    m_i(p) = E_i . F(p)                                     the same points for every mask
    dL/dE = G F^T,  dL/dF = E^T G,  G = reading^T(dL/dm)    points of its own for each
and a whole mask is needed for some rows at a time only, and never kept for the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mmattn.ops import multi_scale_deformable_attention

#: Numbers in the maps that are made at a time.
_CHUNK = 1 << 23
_HEAD = 64  # channels that the operator reads at once on every device


def features_at(features: Tensor, points: Tensor) -> Tensor:
    """Read the features of one image at points, bilinearly; 0 beyond the edges.

    Args:
        features: (C, h, w); fast in channels-last layout.
        points: (P, 2) as (x, y), 0 and 1 being the edges.

    Returns:
        (P, C)
    """
    channels, height, width = features.shape
    heads = channels // _HEAD if channels % _HEAD == 0 else 1
    value = features.flatten(1).t().reshape(1, height * width, heads, -1)
    places = points[None, :, None, None, None].expand(1, -1, heads, 1, 1, 2).contiguous()
    weights = torch.ones(places.shape[:-1], dtype=places.dtype, device=places.device)
    return multi_scale_deformable_attention(value, [(height, width)], places, weights)[0]


class PointDraws:
    """Random points, uniform in the image: how many, and how they are drawn.

    Args:
        num_points: Points P of a mask in the loss, and of an image in the matching.
        oversample_ratio: Points drawn for each that is kept, of those that are chosen.
        importance_sample_ratio: Share of points that are chosen, where logits are nearest 0.
    """

    def __init__(
        self,
        num_points: int = 12_544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
    ):
        self.num_points = num_points
        self.candidates = int(num_points * oversample_ratio)
        self.chosen = int(num_points * importance_sample_ratio)

    def for_matching(self, device: torch.device) -> Tensor:
        """Draw (P, 2), which all queries and objects of an image share."""
        return torch.rand(1, self.num_points, 2, device=device)[0]

    def for_loss(self, masks: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Draw candidates (masks, 3 P, 2) to choose from, and points (masks, P / 4, 2) to keep."""
        candidates = torch.rand(masks, self.candidates, 2, device=device)
        kept = torch.rand(masks, self.num_points - self.chosen, 2, device=device)
        return candidates, kept


def uncertain_logits(
    embeddings: Tensor, features: Tensor, rows: list[int], draws: PointDraws
) -> tuple[Tensor, Tensor]:
    """Compute the logits of masks at points where they are least certain, and at random ones.

    Args:
        embeddings: (L, n, C) of masks, for L layers; those of the first image come first.
        features: (B, C, h, w), float32.
        rows: How many of the n are of each image.
        draws: The random points; ``draws.for_loss(n)`` is called once for a layer.

    Returns:
        Logits (L, n, P), with gradients, and points (L, n, P, 2).
    """
    return _UncertainLogits.apply(embeddings, features, rows, draws)  # pyright: ignore


class _UncertainLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, embeddings: Tensor, features: Tensor, rows: list[int], draws: PointDraws
    ) -> tuple[Tensor, Tensor]:
        layers, count, _ = embeddings.shape
        points = features.new_empty(layers, count, draws.num_points, 2)
        logits = features.new_empty(layers, count, draws.num_points)
        for layer in range(layers):
            candidates, kept = draws.for_loss(count, features.device)
            for image, part in _parts(rows, features):
                maps = _maps(embeddings[layer, part], features[image])
                at = _read(maps, candidates[part])
                best = at.abs().topk(draws.chosen, dim=1, largest=False, sorted=False).indices
                logits[layer, part, : draws.chosen] = at.gather(1, best)
                logits[layer, part, draws.chosen :] = _read(maps, kept[part])
                places = candidates[part].gather(1, best[..., None].expand(-1, -1, 2))
                points[layer, part, : draws.chosen] = places
                points[layer, part, draws.chosen :] = kept[part]
        ctx.rows = rows
        ctx.save_for_backward(embeddings, features, points)
        ctx.mark_non_differentiable(points)
        return logits, points

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor, _: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        embeddings, features, points = ctx.saved_tensors
        grad_embeddings = torch.zeros_like(embeddings)
        # Pixel by pixel, as the features lie.
        grad_features = features.new_zeros(
            features.shape[0], features.shape[2] * features.shape[3], features.shape[1]
        )
        for layer in range(len(embeddings)):
            for image, part in _parts(ctx.rows, features):
                grad_maps = _spread(grad[layer, part], points[layer, part], features)
                grad_embeddings[layer, part] = grad_maps @ features[image].flatten(1).t()
                grad_features[image].addmm_(grad_maps.t(), embeddings[layer, part])
        grad_features = grad_features.transpose(1, 2).view_as(features)
        return grad_embeddings, grad_features, None, None


def _parts(rows: list[int], features: Tensor):
    """Yield image and slice of masks, few enough that their maps fit into a chunk."""
    step = max(1, _CHUNK // (features.shape[2] * features.shape[3]))
    start = 0
    for image, count in enumerate(rows):
        for first in range(start, start + count, step):
            yield image, slice(first, min(first + step, start + count))
        start += count


def _maps(embeddings: Tensor, features: Tensor) -> Tensor:
    """Multiply (n, C) with (C, h, w), to (n, h, w)."""
    return (embeddings @ features.flatten(1)).unflatten(1, features.shape[1:])


def _read(maps: Tensor, points: Tensor) -> Tensor:
    """Read maps (n, h, w) at points (n, P, 2) of their own: (n, P)."""
    read = F.grid_sample(maps[:, None], 2 * points[:, None] - 1, align_corners=False)
    return read[:, 0, 0]


def _spread(grad: Tensor, points: Tensor, features: Tensor) -> Tensor:
    """Transpose of ``_read``: (n, P) to (n, h w)."""
    shape = (len(grad), 1, *features.shape[2:])
    maps, _ = torch.ops.aten.grid_sampler_2d_backward(
        grad[:, None, None],
        features.new_empty(1).expand(shape),  # gives its shape alone
        2 * points[:, None] - 1,
        0,
        0,
        False,
        [True, False],
    )
    return maps.flatten(1)


def uncertain_logits_reference(
    embeddings: Tensor, features: Tensor, rows: list[int], draws: PointDraws
) -> tuple[Tensor, Tensor]:
    """Compute the same from whole masks, by torch's own gradients: the oracle."""
    image = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(rows))
    maps = torch.einsum("lnc,nchw->lnhw", embeddings, features[image.to(features.device)])
    logits, points = [], []
    for layer in maps:
        candidates, kept = draws.for_loss(len(layer), features.device)
        order = _read(layer.detach(), candidates).abs().argsort(dim=1)[:, : draws.chosen]
        chosen = candidates.gather(1, order[..., None].expand(-1, -1, 2))
        points.append(torch.cat((chosen, kept), dim=1))
        logits.append(_read(layer, points[-1]))
    return torch.stack(logits), torch.stack(points)


Reader = Callable[[Tensor, Tensor, list[int], PointDraws], tuple[Tensor, Tensor]]
