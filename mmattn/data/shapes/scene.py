"""Scenes of overlapping shapes on textured ground, drawn from a seed.

A scene depends on ``(seed, split, index)`` alone: neither on the scenes before it nor on how many
there are. Every shape that can be seen is labelled, and a label covers exactly what can be seen of
its shape.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import cv2
import numpy as np

from mmattn.errors import ConfigError

from . import textures
from .classes import STUFF_CLASSES, THING_CLASSES
from .outlines import OUTLINES

#: A shape is placed only where at least this share of it, and of each one below it, stays visible.
_MIN_VISIBLE = 0.3
_MIN_PIXELS = 24
_NOTHING = -1


@dataclass
class Scene:
    """One image with its labels.

    Attributes:
        image: ``(H, W, 3)`` uint8, RGB.
        semantic: ``(H, W)`` uint8, indices into ``CLASSES``.
        owner: ``(H, W)`` int32, the index into ``labels`` of the visible shape, -1 on the ground.
        labels: The class index of each shape.
        crowds: For each shape, whether it is a crowd region (several shapes under one label).
    """

    image: np.ndarray
    semantic: np.ndarray
    owner: np.ndarray
    labels: list[int] = field(default_factory=list)
    crowds: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class _Placed:
    """A drawn shape: its window in the image, and coverage (0..1) and mask inside this window."""

    window: tuple[slice, slice]
    coverage: np.ndarray
    mask: np.ndarray
    full_area: int


class ShapesSceneGenerator:
    """Draws scenes.

    Args:
        size: Height and width of the images, each at least 48 pixels.
        seed: Random seed of the whole dataset.
        crowd_probability: Share of the scenes that hold one crowd region: a cluster of small shapes
            of one class that has a single label with ``iscrowd=1``.
        colour_hint: Share of the shapes whose hue is near their class's own. The others have any
            hue: colour helps a small network to learn within minutes, form alone is certain.

    Raises:
        ConfigError: A size below 48 pixels, a negative seed, a share outside 0..1.
    """

    def __init__(
        self,
        size: tuple[int, int] = (192, 256),
        seed: int = 0,
        crowd_probability: float = 0.0,
        colour_hint: float = 0.8,
    ) -> None:
        if len(size) != 2 or min(size) < 48:
            raise ConfigError(f"size={size!r}: give height and width, each at least 48 pixels")
        if seed < 0:
            raise ConfigError(f"seed={seed}: give a seed of 0 or more")
        for name, share in (("crowd_probability", crowd_probability), ("colour_hint", colour_hint)):
            if not 0.0 <= share <= 1.0:
                raise ConfigError(f"{name}={share}: give a share from 0 to 1")
        self.size = (int(size[0]), int(size[1]))
        self.seed = int(seed)
        self.crowd_probability = float(crowd_probability)
        self.colour_hint = float(colour_hint)

    def scene(self, split: str, index: int) -> Scene:
        """Return the scene number ``index`` of a split such as ``"train"``."""
        rng = np.random.default_rng([self.seed, zlib.crc32(split.encode()), index])
        canvas, semantic = self._ground(rng)
        scene = Scene(canvas, semantic, np.full(self.size, _NOTHING, np.int32))
        full_areas: list[int] = []
        if rng.random() < self.crowd_probability:
            self._add_crowd(rng, scene, full_areas)
        for _ in range(rng.integers(3, 10)):
            self._add_shape(rng, scene, full_areas)
        scene.image = self._photograph(rng, scene.image)
        return scene

    def _ground(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw one to three grounds with winding borders: RGB ``(H, W, 3)``, indices ``(H, W)``."""
        height, width = self.size
        count = int(rng.choice((1, 2, 3), p=(0.25, 0.45, 0.3)))
        kinds = rng.choice(len(STUFF_CLASSES), count, replace=False)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        sway = 0.12 * min(self.size)
        y = y + sway * textures.smooth_noise(rng, self.size, (0.3 * height, 0.3 * width))
        x = x + sway * textures.smooth_noise(rng, self.size, (0.3 * height, 0.3 * width))
        sites = rng.uniform(0, 1, (count, 2)) * self.size
        nearest = np.argmin([np.hypot(y - cy, x - cx) for cy, cx in sites], axis=0)
        canvas = np.empty((height, width, 3), np.float32)
        for region, kind in enumerate(kinds):
            here = nearest == region
            canvas[here] = textures.ground(rng, STUFF_CLASSES[kind], self.size)[here]
        semantic = (len(THING_CLASSES) + kinds[nearest]).astype(np.uint8)
        return canvas, semantic

    def _radius(self, rng: np.random.Generator) -> float:
        """Log-uniform, from 5 % to 30 % of the shorter side."""
        return float(min(self.size) * np.exp(rng.uniform(np.log(0.05), np.log(0.30))))

    def _place(
        self, rng: np.random.Generator, name: str, radius: float, centre: tuple[float, float]
    ) -> _Placed | None:
        """Coverage and mask of one turned, slightly stretched shape; None when it lies outside."""
        reach = int(np.ceil(radius * 1.25)) + 1
        top, left = int(centre[0]) - reach, int(centre[1]) - reach
        y, x = np.mgrid[: 2 * reach + 1, : 2 * reach + 1].astype(np.float32)
        y, x = y + np.float32(top - centre[0]), x + np.float32(left - centre[1])
        turn, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.15)
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        u, v = (c * x + s * y) * np.float32(stretch / radius), (c * y - s * x) / np.float32(radius)
        level = OUTLINES[name](u, v) * radius  # about pixels
        rows = slice(max(0, -top), min(2 * reach + 1, self.size[0] - top))
        columns = slice(max(0, -left), min(2 * reach + 1, self.size[1] - left))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        inside = level[rows, columns]
        window = (
            slice(rows.start + top, rows.stop + top),
            slice(columns.start + left, columns.stop + left),
        )
        coverage = np.clip(0.5 - inside, 0, 1)[..., None]
        return _Placed(window, coverage, inside < 0, int((level < 0).sum()))

    @staticmethod
    def _paint(rng: np.random.Generator, scene: Scene, placed: _Placed, hue: np.ndarray) -> None:
        """Blend one shape over the canvas."""
        below = scene.image[placed.window]
        surface = textures.fill(rng, below.shape[:2], hue)
        below += placed.coverage * (surface - below)

    def _hues(self, rng: np.random.Generator, label: int) -> tuple[float, float]:
        """Return the range of hues, in turns, that a shape of this class is painted in."""
        if rng.random() >= self.colour_hint:
            return 0.0, 1.0
        middle, reach = label / len(THING_CLASSES), 0.4 / len(THING_CLASSES)
        return middle - reach, middle + reach

    @staticmethod
    def _contrasting(
        rng: np.random.Generator, scene: Scene, placed: _Placed, hues: tuple[float, float]
    ) -> np.ndarray:
        """Return, of a few colours, the one that stands out most from what the shape will cover."""
        covered = scene.image[placed.window][placed.mask]  # (N, 3)
        draws = [textures.colour(rng, hues) for _ in range(4)]
        # Not the mean: half over a shape of its own colour, it would have no outline there.
        contrast = [np.quantile(np.abs(covered - draw).sum(1), 0.15) for draw in draws]
        return draws[int(np.argmax(contrast))]

    @staticmethod
    def _label(scene: Scene, placed: _Placed, label: int, owner: int) -> None:
        scene.owner[placed.window][placed.mask] = owner
        scene.semantic[placed.window][placed.mask] = label

    def _add_shape(self, rng: np.random.Generator, scene: Scene, full_areas: list[int]) -> None:
        """Try some places for one more shape; leave it out when all would hide too much."""
        label = int(rng.integers(len(THING_CLASSES)))
        radius = max(5.0, self._radius(rng))
        for _ in range(8):
            centre = (rng.uniform(0, self.size[0]), rng.uniform(0, self.size[1]))
            placed = self._place(rng, THING_CLASSES[label], radius, centre)
            if placed is None or not self._stays_readable(scene, placed, full_areas):
                continue
            hues = self._hues(rng, label)
            self._paint(rng, scene, placed, self._contrasting(rng, scene, placed, hues))
            self._label(scene, placed, label, len(scene.labels))
            scene.labels.append(label)
            scene.crowds.append(False)
            full_areas.append(placed.full_area)
            return

    @staticmethod
    def _stays_readable(scene: Scene, placed: _Placed, full_areas: list[int]) -> bool:
        """Return whether the new shape and all shapes below it keep enough visible pixels."""
        seen = int(placed.mask.sum())
        if seen < max(_MIN_PIXELS, _MIN_VISIBLE * placed.full_area):
            return False
        hidden = scene.owner[placed.window][placed.mask]
        for owner in np.unique(hidden[hidden != _NOTHING]):
            left = int((scene.owner == owner).sum()) - int((hidden == owner).sum())
            if left < max(_MIN_PIXELS, _MIN_VISIBLE * full_areas[owner]):
                return False
        return True

    def _add_crowd(self, rng: np.random.Generator, scene: Scene, full_areas: list[int]) -> None:
        """Draw a cluster of small shapes of one class and one colour under a single label."""
        label = int(rng.integers(len(THING_CLASSES)))
        radius = max(5.0, 0.06 * min(self.size))
        middle = rng.uniform(0.25, 0.75, 2) * self.size
        hue = textures.colour(rng, self._hues(rng, label))
        owner, area = len(scene.labels), 0
        for _ in range(rng.integers(6, 11)):
            offset = rng.normal(0.0, 2.2 * radius, 2)
            placed = self._place(rng, THING_CLASSES[label], radius, tuple(middle + offset))
            if placed is None:
                continue
            self._paint(rng, scene, placed, hue)
            self._label(scene, placed, label, owner)
        area = int((scene.owner == owner).sum())
        if area:
            scene.labels.append(label)
            scene.crowds.append(True)
            full_areas.append(area)

    def _photograph(self, rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
        """Uneven light, blur and sensor noise; float32 0..1 to uint8."""
        light = 1.0 + 0.18 * textures.smooth_noise(rng, self.size, self.size)
        image = canvas * light[..., None]
        sigma = rng.uniform(0.0, 1.1)
        if sigma > 0.3:
            image = cv2.GaussianBlur(image, (0, 0), sigma)
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0.0, 0.06))
        return np.clip(np.rint((image + noise) * 255), 0, 255).astype(np.uint8)
