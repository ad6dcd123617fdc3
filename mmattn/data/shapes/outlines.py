"""The outlines of the thing classes as level sets.

Each function maps coordinates ``u, v`` (any common shape) to a level of the same shape: negative
inside, zero on the outline, about the distance outside. A shape of unit radius touches the unit
circle, so that all classes have the same range of sizes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return a disc of radius 0.9."""
    return np.hypot(u, v) - 0.9


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return a square of half side 0.75."""
    return np.maximum(np.abs(u), np.abs(v)) - 0.75


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return an equilateral triangle: three half planes at distance one half."""
    slope = np.sqrt(0.75).astype(u.dtype)
    return np.maximum(v, np.maximum(slope * u - 0.5 * v, -slope * u - 0.5 * v)) - 0.5


def star(u: np.ndarray, v: np.ndarray, inner: float = 0.42) -> np.ndarray:
    """Return a five-pointed star; ``inner`` is the radius of its inner corners."""
    step = np.pi / 5
    angle = np.abs((np.arctan2(u, v) + step) % (2 * step) - step)  # 0 at a point, step between two
    # The straight edge from the point (1, 0) to the inner corner, in polar form.
    edge = inner * np.sin(step) / (inner * np.sin(step - angle) + np.sin(angle))
    return np.hypot(u, v) - edge


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return an annulus of radii 0.5 and 0.95: what is behind shows through the hole."""
    return np.abs(np.hypot(u, v) - 0.725) - 0.225


def cross(u: np.ndarray, v: np.ndarray, half_width: float = 0.3) -> np.ndarray:
    """Two bars of the given half width."""
    a, b = np.abs(u), np.abs(v)
    return np.maximum(np.minimum(a, b) - half_width, np.maximum(a, b) - 0.95)


OUTLINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "ring": ring,
    "cross": cross,
}
