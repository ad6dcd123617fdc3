"""Statistics of recorded layers, without writing sparse attention out: see ``statistics``.

Entropy, effective keys and their like are over the keys that a layer may read, such as those of a
window; distances and mutual information over the whole map, where all other weights are 0. Points
of deformable attention count for each of the four pixels around them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..statistics import places_of
from .layer import Attention, Grid
from .reduced import square_shares

#: Statistic -> what it is, in the order in which they are shown.
STATISTICS = {
    "normalized_entropy": "entropy of a row over the largest possible: 1 is uniform",
    "effective_keys": "exp of the entropy",
    "nmi": "normalised mutual information of queries and keys: 0 where all rows are equal",
    "mean_distance": "in pixels of the input",
    "locality": "weight within one step of the grid",
    "diagonal_mass": "weight of a token for itself",
    "sink_mass": "largest mean weight of one key",
    "head_similarity": "mean cosine of pairs of heads",
}


def measure(record: Attention, image: Grid | None = None) -> dict[str, np.ndarray]:
    """Return the statistics of a layer, each (heads,); those that it has not are left out.

    Args:
        record: A recorded layer.
        image: Height and width of the network's input, for distances in its pixels.
    """
    weights = record.weights.double().cpu().numpy()
    found: dict[str, list[float]] = {}
    places = _places(record.query_grids, record.queries, image)
    key_places = _key_places(record, image)
    for head, of_head in enumerate(weights):
        values, keys = _entries(record, head, of_head)
        for name, value in _of_head(record, values, keys, places, key_places).items():
            found.setdefault(name, []).append(value)
    result = {name: np.array(values) for name, values in found.items()}
    similarity = _similarity(record, weights)
    if similarity is not None:
        result["head_similarity"] = np.full(len(weights), similarity)
    return {name: result[name] for name in STATISTICS if name in result}


def _entries(record: Attention, head: int, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and numbers of keys (Nq, S), the four pixels of points one by one."""
    if record.keys is None:
        keys = np.broadcast_to(np.arange(record.tokens), weights.shape)
        return weights, keys
    keys = record.keys[head if len(record.keys) > 1 else 0].cpu().numpy()
    values = np.broadcast_to(weights[..., None], keys.shape)
    if record.shares is not None:
        shares = record.shares[head if len(record.shares) > 1 else 0].cpu().numpy()
        values = values * shares
    values = np.where(keys >= 0, values, 0.0)
    return values.reshape(len(values), -1), keys.reshape(len(keys), -1)


def _of_head(
    record: Attention,
    values: np.ndarray,
    keys: np.ndarray,
    places: np.ndarray | None,
    key_places: np.ndarray | None,
) -> dict[str, float]:
    queries, tokens = len(values), record.tokens
    logs = np.log(np.where(values > 0, values, 1.0))
    entropy = -(values * logs).sum(1)
    readable = ((values > 0) & (keys >= 0)).sum(1)
    several = readable > 1
    real = keys >= 0
    mean = np.bincount(keys[real], values[real], tokens) / queries
    ratio = logs - np.log(np.where(mean > 0, mean, 1.0))[np.maximum(keys, 0)]
    information = float((values * ratio).sum() / queries)
    of_keys = float(-(mean * np.log(np.where(mean > 0, mean, 1.0))).sum())
    norm = math.sqrt(max(math.log(queries) * of_keys, 0.0)) if queries > 1 else 0.0
    found = {
        "normalized_entropy": float((entropy[several] / np.log(readable[several])).mean())
        if several.any()
        else 0.0,
        "effective_keys": float(np.exp(entropy).mean()),
        "nmi": information / norm if norm > 0 else 0.0,
        "sink_mass": float(mean.max()),
    }
    if places is None or key_places is None:
        return found
    offset = key_places[np.maximum(keys, 0)] - places[:, None]
    mass = values.sum()
    found["mean_distance"] = float((values * np.sqrt((offset**2).sum(-1))).sum() / mass)
    if record.kind == "self" and len(record.query_grids) == 1 and record.reduction == 1:
        step = _step(places, record.query_grids[0])
        near = (np.abs(offset) <= 1.5 * step).all(-1)
        found["locality"] = float((values * near).sum() / queries)
        start = record.queries - len(places)
        itself = keys == (np.arange(queries) + start)[:, None]
        found["diagonal_mass"] = float((values * itself).sum() / queries)
    return found


def _step(places: np.ndarray, grid: Grid) -> np.ndarray:
    """Return the distance of neighbours of a grid, down and to the right."""
    span = places.max(0) - places.min(0)
    return np.where(np.array(grid) > 1, span / np.maximum(np.array(grid) - 1, 1), 1.0)


def _places(grids: tuple[Grid, ...], count: int, image: Grid | None) -> np.ndarray | None:
    """Return the places (count, 2) of tokens in the input, None where some have none."""
    if not grids or sum(h * w for h, w in grids) != count:
        return None
    parts: list[Any] = []
    for height, width in grids:
        size = image or grids[0]
        parts.append(places_of((height, width), (size[0] / height, size[1] / width)))
    return np.concatenate(parts)


def _key_places(record: Attention, image: Grid | None) -> np.ndarray | None:
    """Return the places of the keys; those of squares of tokens are the middles of the squares."""
    if record.reduction == 1:
        return _places(record.key_grids, record.tokens, image)
    tokens = _places(record.query_grids, record.queries, image)
    return None if tokens is None else square_shares(record) @ tokens


def _similarity(record: Attention, weights: np.ndarray) -> float | None:
    """Return the mean cosine of heads that read the same keys."""
    if len(weights) < 2 or (record.keys is not None and len(record.keys) > 1):
        return None
    flat = weights.reshape(len(weights), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    cosines = flat @ flat.T
    return float((cosines.sum() - np.trace(cosines)) / (len(flat) * (len(flat) - 1)))
