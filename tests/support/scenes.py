"""Tiny labelled scenes, drawn in memory, for tests that need an image with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Class, shape, centre x and y, width and height of each object, as shares of the image's sides.
# They overlap, differ in size by more than a feature level, and one leaves the image.
_OBJECTS = (
    (0, "ellipse", 0.36, 0.40, 0.60, 0.66),
    (1, "box", 0.70, 0.62, 0.42, 0.56),
    (2, "ellipse", 0.20, 0.78, 0.28, 0.30),
    (3, "box", 0.95, 0.15, 0.30, 0.22),
)


@dataclass(frozen=True)
class Scene:
    """One image with its objects, nearest last.

    Shape:
        image: (H, W, 3) uint8, channels blue, green, red.
        boxes: (N, 4) float32, pixels, x1 y1 x2 y2.
        labels: (N,) int64.
        masks: (N, H, W) uint8, visible pixels only.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray

    def semantic_map(self, background: int) -> np.ndarray:
        """(H, W) uint8: the class of the object at each pixel, ``background`` elsewhere."""
        height, width = self.image.shape[:2]
        semantic = np.full((height, width), background, dtype=np.uint8)
        for label, mask in zip(self.labels, self.masks, strict=True):
            semantic[mask > 0] = label
        return semantic


def draw_scene(size: tuple[int, int], seed: int) -> Scene:
    """Draw scene number ``seed``: flat shapes on a textured ground, under noise.

    Args:
        size: Height and width in pixels.
        seed: The same number draws the same scene.
    """
    height, width = size
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    ground = 96 + 40 * np.sin(x / 5 + seed) * np.cos(y / 7)
    image = np.repeat(ground[..., None], 3, axis=2)
    masks = np.zeros((len(_OBJECTS), height, width), dtype=np.uint8)
    for index, (_, shape, cx, cy, w, h) in enumerate(_OBJECTS):
        cx, cy = np.array([cx, cy]) + random.uniform(-0.04, 0.04, 2)
        dx, dy = (
            np.abs(x - cx * width) / (w * width / 2),
            np.abs(y - cy * height) / (h * height / 2),
        )
        inside = dx**2 + dy**2 <= 1 if shape == "ellipse" else np.maximum(dx, dy) <= 1
        masks[:index, inside] = 0  # nearer objects hide farther ones
        masks[index, inside] = 1
        image[inside] = random.uniform(20, 235, 3)
    image += random.normal(0, 12, image.shape)
    return Scene(
        image=image.clip(0, 255).astype(np.uint8),
        boxes=np.stack([_box_of(mask) for mask in masks]),
        labels=np.array([label for label, *_ in _OBJECTS], dtype=np.int64),
        masks=masks,
    )


def _box_of(mask: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], dtype=np.float32)
