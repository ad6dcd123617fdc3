"""Masks at the size of an image, some rows at a time.

The logits of Q masks are resized to the network's input, cut to the image without its padding,
and resized to the size of the file, bilinearly both times. 100 masks of 1024 x 2048 are 839 MB
before anything is done with them; rows of them can be made from a few rows of the small masks, as
bilinear resizing is done for rows and columns apart:
    y = R_rows x R_columns^T
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

Size = tuple[int, int]

#: Numbers in the masks of a band.
BAND = 1 << 24


class ResizedMasks:
    """Masks that are resized when somebody asks for some of their rows.

    Args:
        logits: (Q, h, w)
        input_size: Height and width of the network's input, padding included.
        image_size: Height and width of the image in it, at the upper left.
        output_size: Height and width of the result; ``image_size`` where it is None.
    """

    def __init__(
        self, logits: Tensor, input_size: Size, image_size: Size, output_size: Size | None = None
    ):
        self.logits = logits
        self.input_size = input_size
        self.image_size = image_size
        self.size = image_size if output_size is None else output_size

    def __getitem__(self, masks: Tensor) -> ResizedMasks:
        """Return some of the masks, by their numbers or by a bool for each."""
        return ResizedMasks(self.logits[masks], self.input_size, self.image_size, self.size)

    def __len__(self) -> int:
        return len(self.logits)

    def bands(self, numbers: int | None = None) -> Iterator[tuple[int, int, Tensor]]:
        """Yield first row, last row + 1, and logits (Q, rows, W).

        Args:
            numbers: Numbers in a band, at least those of one row; ``BAND`` by default.
        """
        height, width = self.size
        numbers = BAND if numbers is None else numbers
        step = max(1, numbers // (max(1, len(self)) * max(width, self.input_size[1])))
        for start in range(0, height, step):
            stop = min(start + step, height)
            yield start, stop, self.rows(start, stop)

    def rows(self, start: int, stop: int) -> Tensor:
        """Return the logits of some rows, (Q, stop - start, W)."""
        if self.size == self.image_size:
            return self._input_rows(start, stop)
        first, second, share = _neighbours(
            start, stop, self.size[0], self.image_size[0], self.logits.device
        )
        low, high = int(first[0]), int(second[-1]) + 1
        rows = self._input_rows(low, high)
        return _columns(_between(rows, first - low, second - low, share), self.size[1])

    def _input_rows(self, start: int, stop: int) -> Tensor:
        """Return rows at the size of the input, cut to the width of the image."""
        small = self.logits
        if tuple(small.shape[1:]) != self.input_size:
            places = _neighbours(start, stop, self.input_size[0], small.shape[1], small.device)
            rows = _columns(_between(small, *places), self.input_size[1])
        else:
            rows = small[:, start:stop]
        return rows[:, :, : self.image_size[1]]


def _neighbours(
    start: int, stop: int, size: int, source: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for rows of a resized map, the two rows they lie between and the second's share."""
    places = torch.arange(start, stop, device=device, dtype=torch.float32) + 0.5
    places = (places * (source / size) - 0.5).clamp(min=0)
    first = places.floor().long().clamp(max=source - 1)
    second = (first + 1).clamp(max=source - 1)
    return first, second, places - first


def _between(maps: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    share = share[:, None].to(maps.dtype)
    return maps[:, first] * (1 - share) + maps[:, second] * share


def _columns(rows: Tensor, width: int) -> Tensor:
    """Resize rows (Q, r, w) along their width alone."""
    if rows.shape[2] == width:
        return rows
    size = (rows.shape[1], width)
    return F.interpolate(rows[None], size, mode="bilinear", align_corners=False)[0]
