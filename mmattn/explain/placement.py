"""Where the grid of a feature map lies on its image, and maps brought there and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

Size = tuple[int, int]


@dataclass(frozen=True)
class Placement:
    """Sizes of an image on its way into the network, each (height, width).

    Attributes:
        padded: Of the network's input, padding at the right and the bottom included.
        content: Of the part of it that shows the image.
        image: Of the image as it was read.
    """

    padded: Size
    content: Size
    image: Size

    @classmethod
    def of(cls, inputs: torch.Tensor, meta: dict[str, Any], image: Sequence[int]) -> Placement:
        """Return the placement of an input (1, C, H, W) with the metadata of its sample."""
        padded = (inputs.shape[2], inputs.shape[3])
        content = tuple(meta.get("img_shape", padded)[:2])
        content = (min(content[0], padded[0]), min(content[1], padded[1]))
        return cls(padded, content, (image[0], image[1]))

    def to_input(self, values: np.ndarray) -> np.ndarray:
        """Resize a map (h, w) of the whole input to the input's size, bilinearly."""
        return resize(values, self.padded)

    def to_image(self, values: np.ndarray) -> np.ndarray:
        """Bring a map (h, w) of the whole input onto the image: (H, W) of the image.

        Bilinear without aligned corners to the padded input, padding cut off, resized.
        """
        height, width = self.content
        return resize(self.to_input(values)[:height, :width], self.image)

    def point_in_input(self, x: float, y: float) -> tuple[float, float]:
        """Return the place in the input, (x, y), of a place in the image."""
        return x * self.content[1] / self.image[1], y * self.content[0] / self.image[0]

    def point_in_image(self, x: float, y: float) -> tuple[float, float]:
        """Return the place in the image, (x, y), of a place in the input."""
        return x * self.image[1] / self.content[1], y * self.image[0] / self.content[0]

    def box_in_image(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        """Return x0, y0, x1, y1 in the image of a box in the input."""
        return (*self.point_in_image(box[0], box[1]), *self.point_in_image(box[2], box[3]))

    def cell(self, x: float, y: float, grid: Size) -> tuple[int, int]:
        """Return row and column of the cell of a grid over the input that holds a place in it."""
        row, column = int(y * grid[0] / self.padded[0]), int(x * grid[1] / self.padded[1])
        return min(max(row, 0), grid[0] - 1), min(max(column, 0), grid[1] - 1)

    def content_cells(self, grid: Size) -> np.ndarray:
        """Return the cells of a grid (h, w) whose centres lie in the image: (h, w) bool."""
        y = (np.arange(grid[0]) + 0.5) * self.padded[0] / grid[0] < self.content[0]
        x = (np.arange(grid[1]) + 0.5) * self.padded[1] / grid[1] < self.content[1]
        return y[:, None] & x[None, :]


def resize(values: np.ndarray, size: Size) -> np.ndarray:
    """Resize (h, w) bilinearly, without aligned corners; returns float64."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, np.float64))[None, None]
    if tuple(values.shape) == tuple(size):
        return tensor[0, 0].numpy()
    return F.interpolate(tensor, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()
