"""Values of single points out of feature maps of several levels, without joining the maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gather_levels(
    levels: Sequence[Tensor], image: Tensor, anchor: Tensor, channel: Tensor | None = None
) -> Tensor:
    """Return the values at some points, with gradients to the maps.

    Joining the maps first, as ``torch.cat(levels, 2)[image, channel, anchor]``, gives the same but
    copies all of them, in the backward pass too.

    Args:
        levels: (N, C, A_l) each; the points are counted through all levels.
        image: (P,) int64, index of the image.
        anchor: (P,) int64, index of the point, below the sum of the A_l.
        channel: (P,) int64, or None for all channels.

    Returns:
        (P,), or (P, C) without ``channel``
    """
    values, places, start = [], [], 0
    for level in levels:
        end = start + level.shape[2]
        place = ((anchor >= start) & (anchor < end)).nonzero()[:, 0]
        at = anchor[place] - start
        if channel is None:
            values.append(level[image[place], :, at])
        else:
            values.append(level[image[place], channel[place], at])
        places.append(place)
        start = end
    order = torch.cat(places)
    return torch.cat(values)[torch.empty_like(order).scatter_(0, order, _count(order))]


def _count(like: Tensor) -> Tensor:
    return torch.arange(len(like), device=like.device)
