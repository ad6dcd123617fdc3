"""Procedural surfaces: four grounds and the fills of the shapes.

A ground is recognised by its pattern, not by its colour: hues are drawn from wide, overlapping
ranges and a share of them from the whole circle. All functions return float32 RGB of shape ``(H, W,
3)`` in 0..1.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

Size = tuple[int, int]

#: Typical hue range of each ground, in turns of the colour circle.
_HUES = {
    "grass": (0.18, 0.44),
    "water": (0.42, 0.70),
    "brick": (-0.06, 0.10),
    "sand": (0.06, 0.20),
}


def colour(rng: np.random.Generator, hue: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Return a random colour, shape ``(3,)``, with its hue in the given range of turns."""
    h = rng.uniform(*hue) % 1.0
    return np.array(
        colorsys.hsv_to_rgb(h, rng.uniform(0.25, 0.9), rng.uniform(0.35, 0.95)), np.float32
    )


def smooth_noise(rng: np.random.Generator, size: Size, cells: tuple[float, float]) -> np.ndarray:
    """Noise of shape ``(H, W)``, about -1..1, with grains of ``cells`` pixels (height, width)."""
    grid = tuple(max(2, round(n / c) + 1) for n, c in zip(size, cells, strict=True))
    coarse = rng.uniform(-1.0, 1.0, grid).astype(np.float32)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def _grid(size: Size, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates ``(along, across)``, each ``(H, W)``, turned by ``angle`` radians."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


def _grass(rng: np.random.Generator, size: Size) -> np.ndarray:
    blades = smooth_noise(rng, size, (rng.uniform(7, 14), rng.uniform(1.2, 2.2)))
    return 0.22 * blades + 0.10 * smooth_noise(rng, size, (24, 24))


def _water(rng: np.random.Generator, size: Size) -> np.ndarray:
    along, across = _grid(size, rng.uniform(-0.25, 0.25))
    sway = rng.uniform(2, 5) * smooth_noise(rng, size, (30, 30))
    length = rng.uniform(7, 15)
    waves = np.sin(2 * np.pi * (across + sway) / length + 0.02 * along)
    return 0.16 * waves + 0.06 * smooth_noise(rng, size, (4, 12))


def _brick(rng: np.random.Generator, size: Size) -> np.ndarray:
    along, across = _grid(size, rng.uniform(-0.2, 0.2))
    height = rng.uniform(8, 16)
    width = height * rng.uniform(1.8, 2.6)
    row = np.floor(across / height)
    column = np.floor(along / width + 0.5 * (row % 2))
    mortar = np.minimum(
        across / height % 1.0 * height, (along / width + 0.5 * (row % 2)) % 1 * width
    )
    tone = rng.uniform(-1, 1, 1024).astype(np.float32)
    pick = (row.astype(np.int64) * 37 + column.astype(np.int64) * 101) % tone.size
    line = np.where(mortar < 1.6, np.float32(rng.choice((-0.25, 0.28))), np.float32(0))
    return 0.09 * tone[pick] + line + 0.04 * smooth_noise(rng, size, (3, 3))


def _sand(rng: np.random.Generator, size: Size) -> np.ndarray:
    grains = rng.normal(0.0, 1.0, size).astype(np.float32)
    return 0.09 * cv2.GaussianBlur(grains, (0, 0), 0.7) * 2 + 0.10 * smooth_noise(
        rng, size, (40, 40)
    )


_PATTERNS = {"grass": _grass, "water": _water, "brick": _brick, "sand": _sand}


def ground(rng: np.random.Generator, name: str, size: Size) -> np.ndarray:
    """Paint the surface of one stuff class."""
    hue = _HUES[name] if rng.random() < 0.8 else (0.0, 1.0)
    base = colour(rng, hue)
    pattern = _PATTERNS[name](rng, size)
    return np.clip(base + pattern[..., None] * rng.uniform(0.7, 1.2, 3).astype(np.float32), 0, 1)


def fill(rng: np.random.Generator, size: Size, base: np.ndarray) -> np.ndarray:
    """Paint the surface of one shape: ``base`` flat, graded, striped, dotted or mottled."""
    along, across = _grid(size, rng.uniform(0, 2 * np.pi))
    kind = rng.integers(5)
    if kind == 0:
        pattern = np.zeros(size, np.float32)
    elif kind == 1:
        pattern = 0.3 * (along - along.mean()) / max(1.0, float(np.ptp(along)))
    elif kind == 2:
        pattern = 0.15 * np.sign(np.sin(2 * np.pi * along / rng.uniform(5, 12)))
    elif kind == 3:
        step = 2 * np.pi / rng.uniform(6, 11)
        pattern = 0.15 * np.sign(np.sin(step * along) * np.sin(step * across) - 0.3)
    else:
        pattern = 0.15 * smooth_noise(rng, size, (5, 5))
    return np.clip(base + pattern[..., None].astype(np.float32), 0, 1)
