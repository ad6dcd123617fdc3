"""Find the channels of a feature map by comparing its shapes at several image sizes.

Networks keep their maps as (N, C, H, W), as (N, H, W, C), or as tokens (N, H W, C). A single shape
cannot tell these apart; two images of different sizes can, since only H and W follow the size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Order of a feature map's dimensions, and its channels.

    Attributes:
        order: Order of the dimensions; NLC are tokens, row by row.
        channels: Number of channels.
    """

    order: Literal["NCHW", "NHWC", "NLC"]
    channels: int


Grid = tuple[int, int]


def find_layout(
    shapes: Sequence[tuple[int, ...]],
    grids: Sequence[Grid | None],
    image: Grid | None = None,
) -> Layout:
    """Find the layout of a feature map from its shapes at several image sizes.

    Args:
        shapes: Shape at each image size. Each image is wider and higher than the one before, and
            its width grows more than its height.
        grids: (H, W) of tokens at each size, where the network told (``grid_of``).
        image: Height and width of the image, if there was only one size.

    Raises:
        ValueError: The shapes are not those of a feature map, or do not tell its layout.
    """
    shown = " or ".join(dict.fromkeys(str(tuple(shape)) for shape in shapes))
    ranks = {len(shape) for shape in shapes}
    if len({shape[0] for shape in shapes if shape}) > 1:
        raise ValueError(f"returns {shown}: windows or regions of the image, not whole maps")
    if ranks == {3}:
        return _tokens(shapes, grids, shown)
    if ranks != {4}:
        raise ValueError(f"returns {shown}, which is not a map of 4 dimensions")
    moving = {dim for dim in (1, 2, 3) if len({shape[dim] for shape in shapes}) > 1}
    if not moving:
        last = _is_scaled(shapes[0][1:3], image) and not _is_scaled(shapes[0][2:4], image)
    elif moving <= {2, 3}:
        # A map of few rows may grow in width alone, and width is the last of the two.
        last = moving == {2}
    elif moving == {1, 2}:
        last = True
    else:
        raise ValueError(f"returns {shown}: the number of channels changes")
    order = "NHWC" if last else "NCHW"
    return Layout(order, _constant([shape[3 if last else 1] for shape in shapes], shown))


def _is_scaled(sides: tuple[int, ...], image: Grid | None) -> bool:
    """Return whether a map of these sides may be the image at some stride."""
    if image is None:
        return sides[0] == sides[1]
    return round(image[0] / sides[0]) == round(image[1] / sides[1])


def _tokens(shapes: Sequence[tuple[int, ...]], grids: Sequence[Grid | None], shown: str) -> Layout:
    if any(grid is None for grid in grids):
        raise ValueError(
            f"returns {shown}: tokens, and the network does not tell it the height and width of "
            "their grid; choose a place where the map has 4 dimensions"
        )
    return Layout("NLC", _constant([shape[2] for shape in shapes], shown))


def _constant(channels: Sequence[int], shown: str) -> int:
    if len(set(channels)) > 1:
        raise ValueError(f"returns {shown}: the number of channels changes")
    return channels[0]


def grid_of(tokens: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Grid | None:
    """Return height and width of (N, L, C) tokens, if the module was called with them.

    The transformers of mmdet, mmseg and timm hand (H, W) to each of their layers.
    """
    for value in (*args, *kwargs.values()):
        if (
            isinstance(value, (tuple, list))
            and len(value) == 2
            and all(isinstance(side, (int, torch.SymInt)) for side in value)
            and value[0] * value[1] == tokens.shape[1]
        ):
            return value[0], value[1]
    return None


def apply_to_map(
    block: Callable[[Tensor], Tensor], x: Tensor, layout: Layout, grid: Grid | None = None
) -> Tensor:
    """Apply ``block``, which takes (N, C, H, W), to a map of any layout. Same shape out."""
    if layout.order == "NHWC":
        # What follows may take views that only a contiguous map has.
        return block(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()
    if layout.order == "NLC":
        if grid is None:
            raise ValueError(
                f"tokens of shape {tuple(x.shape)} came without the height and width of their grid"
            )
        x = x.transpose(1, 2).unflatten(2, grid)  # (N, C, H, W)
        return block(x).flatten(2).transpose(1, 2).contiguous()
    return block(x)
