"""Ground-truth masks as bits, read at points without ever becoming numbers.

The masks of an image with 100 objects at 1024 x 1024 are 13 MB of bits, 105 MB of bytes, 420 MB of
floats and 839 MB of 64-bit integers. Losses read some thousand points of each.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Size = tuple[int, int]


class MaskBits:
    """Masks of one image, eight pixels to a byte, with a rim of zeros.

    Args:
        bits: (N, H + 2, ceil((W + 2) / 8)) uint8; pixel (y, x) is bit (x + 1) % 8 of byte
            (x + 1) // 8 in row y + 1.
        size: Height and width H, W of the image.
    """

    def __init__(self, bits: Tensor, size: Size):
        self.bits = bits
        self.size = size

    def __len__(self) -> int:
        return len(self.bits)

    @classmethod
    def of_arrays(
        cls, masks: np.ndarray, size: Size, device: torch.device | str | None = None
    ) -> MaskBits:
        """Pack masks (N, h, w), whose numbers other than 0 are in; the image may be larger.

        Args:
            masks: On the CPU, as data pipelines leave them; packed there.
            size: Height and width of the image, at least those of the masks.
            device: Where the bits go.
        """
        height, width = size
        canvas = np.zeros((height + 2, width + 2), dtype=bool)
        bits = np.zeros((len(masks), height + 2, -(-(width + 2) // 8)), dtype=np.uint8)
        for mask, packed in zip(masks, bits, strict=True):
            canvas[1 : 1 + mask.shape[0], 1 : 1 + mask.shape[1]] = mask
            packed[:] = np.packbits(canvas, axis=1, bitorder="little")
        return cls(torch.from_numpy(bits).to(device), size)

    @classmethod
    def of_tensor(cls, masks: Tensor, size: Size) -> MaskBits:
        """Pack masks (N, h, w), whose numbers other than 0 are in, on their device."""
        return cls._of(lambda index: masks[index] != 0, len(masks), size, masks.device)

    @classmethod
    def of_labels(cls, label_map: Tensor, labels: Tensor, size: Size) -> MaskBits:
        """Pack the mask of each of N labels in a map (h, w), on its device."""
        return cls._of(
            lambda index: label_map == labels[index], len(labels), size, label_map.device
        )

    @classmethod
    def _of(
        cls, mask: Callable[[int], Tensor], count: int, size: Size, device: torch.device
    ) -> MaskBits:
        height, width = size
        row = -(-(width + 2) // 8)
        canvas = torch.zeros(height + 2, 8 * row, dtype=torch.bool, device=device)
        bits = torch.empty(count, height + 2, row, dtype=torch.uint8, device=device)
        weights = 2 ** torch.arange(8, dtype=torch.uint8, device=device)
        for index in range(count):
            one = mask(index)
            canvas[1 : 1 + one.shape[0], 1 : 1 + one.shape[1]] = one
            bits[index] = (canvas.unflatten(1, (row, 8)) * weights).sum(2, dtype=torch.uint8)
        return cls(bits, size)

    @classmethod
    def concatenated(cls, parts: list[MaskBits]) -> MaskBits:
        """Join the masks of several parts of the same size."""
        return cls(torch.cat([part.bits for part in parts]), parts[0].size)

    def unpacked(self) -> Tensor:
        """Return the masks, (N, H, W) bool."""
        height, width = self.size
        places = torch.arange(8, dtype=torch.uint8, device=self.bits.device)
        pixels = (self.bits.unsqueeze(3) >> places & 1).flatten(2)
        return pixels[:, 1 : height + 1, 1 : width + 1].bool()

    def sampled(self, points: Tensor) -> Tensor:
        """Read all masks at the same points, bilinearly, as ``F.grid_sample`` does.

        Args:
            points: (P, 2) as (x, y), 0 and 1 being the edges of the image.

        Returns:
            (N, P) float32, fractions at the edges of a mask
        """
        flat = self.bits.flatten(1)
        return self._taps(points, 0, lambda byte: flat.index_select(1, byte))

    def sampled_each(self, masks: Tensor, points: Tensor) -> Tensor:
        """Read each of some masks at points of its own.

        Args:
            masks: (n,) int64, numbers of masks.
            points: (n, P, 2), as in ``sampled``.

        Returns:
            (n, P) float32
        """
        flat = self.bits.flatten()
        first = (masks * self.bits[0].numel() if len(self) else masks)[:, None]
        return self._taps(points, first, lambda byte: flat.take(byte))

    def _taps(
        self, points: Tensor, first: Tensor | int, read: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Add up the four pixels around each point by their shares; the rim answers outside."""
        height, width = self.size
        row = self.bits.shape[2]
        # The rim shifts pixels by one, so that the pixel left of the first is pixel 0.
        x, y = points[..., 0] * width + 0.5, points[..., 1] * height + 0.5
        left, top = x.floor().clamp(0, width), y.floor().clamp(0, height)
        right_share, lower_share = x - left, y - top
        left, top = left.long(), top.long()
        result: Tensor | None = None
        for column, across in ((left, 1 - right_share), (left + 1, right_share)):
            byte, bit = first + top * row + (column >> 3), (column & 7).to(torch.uint8)
            upper = (read(byte) >> bit & 1) * (across * (1 - lower_share))
            lower = (read(byte + row) >> bit & 1) * (across * lower_share)
            result = upper + lower if result is None else result + upper + lower
        assert result is not None
        return result
