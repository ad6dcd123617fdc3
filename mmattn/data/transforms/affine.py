"""Affine maps of pixel coordinates as 3 x 3 matrices, and what they do to boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RandomAffineRange:
    """Ranges of a random affine map; all are drawn uniformly.

    Attributes:
        degrees: Largest rotation to either side, in degrees.
        translate: Largest shift to either side, as a share of the output's width and height.
        scale: Gain g of the scale, which is drawn from 1 - g to 1 + g.
        shear: Largest shear to either side along x and along y, in degrees.
    """

    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0

    def draw(self, canvas: tuple[int, int], output: tuple[int, int]) -> np.ndarray:
        """Draw the map from a canvas to the output: middle to middle, but for the random shift.

        Args:
            canvas: Width and height of the canvas in pixels.
            output: Width and height of the output in pixels.

        Returns:
            (3, 3) float64; maps (x, y, 1) of the canvas to the output.
        """
        angle = np.deg2rad(np.random.uniform(-self.degrees, self.degrees))
        gain = np.random.uniform(1 - self.scale, 1 + self.scale)
        shear_x, shear_y = np.tan(np.deg2rad(np.random.uniform(-self.shear, self.shear, 2)))
        shift = np.random.uniform(0.5 - self.translate, 0.5 + self.translate, 2) * output

        rotate = gain * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        linear = np.array([[1.0, shear_x], [shear_y, 1.0]]) @ rotate
        return affine_matrix(linear, shift - linear @ (np.asarray(canvas) / 2))


def affine_matrix(linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the (3, 3) matrix of x -> linear (2, 2) x + shift (2,)."""
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = shift
    return matrix


def scale_and_shift(scale: float, x: float, y: float) -> np.ndarray:
    """Return the (3, 3) matrix of p -> scale · p + (x, y)."""
    return affine_matrix(np.eye(2) * scale, np.array([x, y], dtype=float))


def matrix_of_pixels(matrix: np.ndarray) -> np.ndarray:
    """Return a (3, 3) map of coordinates as OpenCV counts them: from the middle of pixel (0, 0).

    Boxes and polygons count from its corner.
    """
    return scale_and_shift(1.0, -0.5, -0.5) @ matrix @ scale_and_shift(1.0, 0.5, 0.5)


def map_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map ``points`` (..., 2) by a (3, 3) matrix."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def map_boxes(matrix: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Map boxes (N, 4) x1, y1, x2, y2 to the boxes around their mapped corners."""
    corners = map_points(matrix, boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))
    return np.concatenate([corners.min(1), corners.max(1)], 1)


def clip_boxes(boxes: np.ndarray, left: float, top: float, right: float, bottom: float):
    """Clip boxes (N, 4) to a rectangle."""
    low, high = (left, top, left, top), (right, bottom, right, bottom)
    return np.clip(boxes, low, high)


def worth_keeping(
    whole: np.ndarray,
    clipped: np.ndarray,
    *,
    min_size: float = 2.0,
    min_visible: float = 0.1,
    max_aspect_ratio: float = 100.0,
) -> np.ndarray:
    """Tell which boxes are still worth learning after they were clipped.

    Args:
        whole: (N, 4) boxes before they were clipped.
        clipped: (N, 4) the same boxes, clipped.
        min_size: Smallest width and height in pixels, exclusive.
        min_visible: Smallest share of the area that is left, exclusive.
        max_aspect_ratio: Largest ratio of the sides, exclusive.

    Returns:
        (N,) bool.
    """
    width, height = (clipped[:, 2:] - clipped[:, :2]).T
    area = np.prod(whole[:, 2:] - whole[:, :2], axis=1)
    visible = width * height / np.maximum(area, 1e-16)
    smaller, larger = np.minimum(width, height), np.maximum(width, height)
    aspect_ratio = larger / np.maximum(smaller, 1e-16)
    return (smaller > min_size) & (visible > min_visible) & (aspect_ratio < max_aspect_ratio)
