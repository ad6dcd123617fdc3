"""Statistics of attention weights: how spread, how local, how collapsed.

A is (heads, q, k) with rows that sum to 1; all results are per head, (heads,), in float64.
Distances are between places of the queries and of the keys, in pixels of the image.

Sources: attention distance as in Dosovitskiy et al. (arXiv:2010.11929); normalised mutual
information as in Park et al. (ICLR 2023, arXiv:2305.00729).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Grid = tuple[int, int]


def entropy(a: np.ndarray) -> np.ndarray:
    """Return the mean entropy of the rows, in nats; 0 ln 0 = 0."""
    return _row_entropy(a).mean(-1)


def _row_entropy(a: np.ndarray) -> np.ndarray:
    return -np.where(a > 0, a * np.log(np.where(a > 0, a, 1.0)), 0.0).sum(-1)


def normalized_entropy(a: np.ndarray, admissible: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of the rows' entropies over the largest they can have: 0 to 1.

    Args:
        a: (heads, q, k)
        admissible: (q,) number of keys that each row may read; all k by default. Rows with a
            single key do not count.
    """
    count = np.full(a.shape[-2], a.shape[-1]) if admissible is None else np.asarray(admissible)
    several = count > 1
    if not several.any():
        return np.zeros(a.shape[:-2])
    return (_row_entropy(a)[..., several] / np.log(count[several])).mean(-1)


def effective_keys(a: np.ndarray) -> np.ndarray:
    """Return the mean of exp(entropy) over the rows: 1 to k."""
    return np.exp(_row_entropy(a)).mean(-1)


def places_of(grid: Grid, step: float | tuple[float, float] = 1.0) -> np.ndarray:
    """Return the centres (N, 2) of the cells of a grid, row and column times ``step``."""
    steps = np.broadcast_to(np.asarray(step, np.float64), 2)
    rows, columns = np.mgrid[: grid[0], : grid[1]].reshape(2, -1) + 0.5
    return np.stack([rows * steps[0], columns * steps[1]], 1)


def mean_distance(a: np.ndarray, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the mean over the rows of the expected Euclidean distance to the keys.

    Args:
        a: (heads, q, k)
        queries: (q, 2) places.
        keys: (k, 2) places.
    """
    distance = np.sqrt(((queries[:, None] - keys[None]) ** 2).sum(-1))
    return (a * distance).sum(-1).mean(-1)


def hop_strength(a: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the weight at each Chebyshev distance, mean over the rows: (heads, hops), sums 1."""
    places = places_of(grid)
    hops = np.abs(places[:, None] - places[None]).max(-1).round().astype(int)
    most = int(hops.max()) + 1
    masks = [(hops == hop) for hop in range(most)]
    return np.stack([(a * mask).sum(-1).mean(-1) for mask in masks], -1)


def locality(a: np.ndarray, grid: Grid, radius: int = 1) -> np.ndarray:
    """Return the weight within a Chebyshev distance, mean over the rows."""
    return hop_strength(a, grid)[..., : radius + 1].sum(-1)


def mutual_information(a: np.ndarray) -> np.ndarray:
    """Return I(q; k) in nats for queries that are equally likely."""
    mean = a.mean(-2, keepdims=True)
    ratio = np.where(a > 0, a / np.where(mean > 0, mean, 1.0), 1.0)
    return (a * np.log(ratio)).sum(-1).mean(-1)


def key_entropy(a: np.ndarray) -> np.ndarray:
    """Return the entropy H(k) of the mean row, in nats."""
    return _row_entropy(a.mean(-2))


def normalized_mutual_information(a: np.ndarray) -> np.ndarray:
    """Return I(q; k) / sqrt(H(q) H(k)): 1 for a permutation, 0 where all rows are equal."""
    information, of_keys = mutual_information(a), key_entropy(a)
    norm = np.sqrt(math.log(a.shape[-2]) * of_keys) if a.shape[-2] > 1 else np.zeros_like(of_keys)
    return np.divide(information, norm, out=np.zeros_like(information), where=norm > 0)


def sink_mass(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest mean weight of one key, and which key that is, for each head."""
    mean = a.mean(-2)
    return mean.max(-1), mean.argmax(-1)


def diagonal_mass(a: np.ndarray) -> np.ndarray:
    """Return the mean weight that a token has for itself; q = k."""
    return np.diagonal(a, axis1=-2, axis2=-1).mean(-1)


def head_similarity(a: np.ndarray) -> float:
    """Return the mean cosine of pairs of heads; 1 where all are alike, NaN for a single head."""
    heads = len(a)
    if heads < 2:
        return float("nan")
    flat = a.reshape(heads, -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    cosines = flat @ flat.T
    return float((cosines.sum() - np.trace(cosines)) / (heads * (heads - 1)))


def summarize(a: np.ndarray, grid: Grid | None = None, step: float | Any = 1.0) -> dict[str, Any]:
    """Return all statistics of one layer: name -> (heads,) array, or a number.

    Args:
        a: (heads, q, k), rows with sum 1; a weight of 0 in every head is a key that is not
            admissible, such as one outside of a window.
        grid: Rows and columns of queries and keys where they are the same tokens.
        step: Pixels of the image for a step of the grid, or those down and to the right.
    """
    admissible = (a > 0).any(0).sum(-1)
    mass, index = sink_mass(a)
    found: dict[str, Any] = {
        "entropy": entropy(a),
        "normalized_entropy": normalized_entropy(a, admissible),
        "effective_keys": effective_keys(a),
        "nmi": normalized_mutual_information(a),
        "sink_mass": mass,
        "sink_key": index,
        "head_similarity": head_similarity(a),
    }
    if grid is not None and a.shape[-1] == a.shape[-2] == grid[0] * grid[1]:
        places = places_of(grid, step)
        found["mean_distance"] = mean_distance(a, places, places)
        found["locality"] = locality(a, grid)
        found["diagonal_mass"] = diagonal_mass(a)
    return found
