"""Feature maps as windows of positions, and the padding that they need."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from mmattn.ops import is_exporting


def pad_to_multiple(x: Tensor, multiple: Sequence[int]) -> Tensor:
    """Pad with zeros at the right and at the bottom.

    Args:
        x: Feature maps. Shape (N, C, H, W).
        multiple: Numbers that height and width of the result are multiples of.

    Returns:
        (N, C, H', W'), with the smallest such sizes; ``x`` itself if these are its own.
    """
    bottom, right = (-size % step for size, step in zip(x.shape[2:], multiple, strict=True))
    # An exported graph has one form for all sizes.
    if not is_exporting() and bottom == 0 and right == 0:
        return x
    return F.pad(x, (0, right, 0, bottom))


def real_positions(x: Tensor, multiple: Sequence[int]) -> Tensor | None:
    """Return which positions of ``pad_to_multiple(x, multiple)`` are not padding.

    Returns:
        (1, H', W', 1), boolean; None if there is no padding.
    """
    height, width = x.shape[2:]
    if not is_exporting() and height % multiple[0] == 0 and width % multiple[1] == 0:
        return None
    return pad_to_multiple(x.new_ones(1, 1, height, width), multiple).permute(0, 2, 3, 1) > 0


def to_windows(x: Tensor, size: Sequence[int]) -> Tensor:
    """Cut into windows of h x w positions, row by row: (N, H, W, C) -> (N, windows, h w, C).

    Args:
        x: Feature maps with channels last; h divides H and w divides W.
        size: Height h and width w of a window.
    """
    n, height, width, channels = x.shape
    h, w = size
    x = x.reshape(n, height // h, h, width // w, w, channels)
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def from_windows(x: Tensor, size: Sequence[int], width: int) -> Tensor:
    """Put windows together: (N, windows, h w, C) -> (N, H, W, C).

    Args:
        x: Windows, row by row.
        size: Height h and width w of a window.
        width: Width W of the feature maps.
    """
    n, windows, _, channels = x.shape
    h, w = size
    columns = width // w
    x = x.reshape(n, windows // columns, columns, h, w, channels)
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
