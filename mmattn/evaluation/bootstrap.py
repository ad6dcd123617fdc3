"""Confidence intervals: how much a result depends on the images, seeds or rounds it comes from.

The measured ones are drawn again with replacement, as many as there are, and the result is computed
from those drawn; the range that holds the middle 95 % of many such results is the interval (Efron's
percentile bootstrap). For a score that is computed from pixel counts, images and not pixels are
drawn, since the pixels of one image are right or wrong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Counts = Mapping[str, np.ndarray]
Interval = tuple[float, float]
#: Share of the drawn results inside an interval.
LEVEL = 0.95
# Draws computed at a time: bounds the memory.
_CHUNK = 64


def bootstrap_intervals(
    counts: Counts,
    scores: Callable[[Counts], Mapping[str, np.ndarray]],
    *,
    resamples: int,
    level: float = LEVEL,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Compute the percentile interval of every score that follows from summed counts of images.

    Args:
        counts: Name -> integers of shape (images, classes). The result depends on the order of
            the images: sort them, by name for example.
        scores: Function from counts of shape (draws, classes) to scores of shape (draws, …).
        resamples: Number of times that the images are drawn.
        level: Share of the scores inside the interval.
        seed: Random seed of the draws.

    Returns:
        Name -> (2, …), lower and upper end; nan where a score is undefined in every draw.
    """
    names, shapes = list(counts), [values.shape[1] for values in counts.values()]
    table = np.concatenate([counts[name] for name in names], axis=1)
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[np.ndarray]] = {}
    for start in range(0, resamples, _CHUNK):
        times = draw_with_replacement(len(table), min(_CHUNK, resamples - start), generator)
        parts = np.split(sum_drawn(times, table), np.cumsum(shapes)[:-1], axis=1)
        for name, values in scores(dict(zip(names, parts, strict=True))).items():
            drawn.setdefault(name, []).append(values)
    return {name: percentile_interval(np.concatenate(v), level) for name, v in drawn.items()}


def bootstrap_values(
    values: Sequence[float],
    statistic: Callable[..., np.ndarray] = np.mean,
    *,
    resamples: int = 2000,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """Compute the interval of a statistic of single numbers.

    Args:
        values: The numbers that were measured.
        statistic: Function of an array and an axis, such as ``np.mean`` or ``np.median``.
        resamples: Number of times that ``values`` are drawn.
        level: Share of the statistics inside the interval.
        seed: Random seed of the draws.
    """
    picked = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = percentile_interval(statistic(np.asarray(values)[picked], axis=1), level)
    return float(low), float(high)


def draw_with_replacement(count: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draw ``count`` of ``count`` things again and again.

    Returns:
        int64 (draws, count): how often each thing is in each draw.
    """
    return generator.multinomial(count, np.full(count, 1 / count), size=draws)


def sum_drawn(times: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Add up the counts of the images in each draw.

    Args:
        times: How often each image is in each draw, (draws, images).
        counts: Integers of each image, (images, …).

    Returns:
        float64 (draws, …): whole numbers below 2**53, so they are exact in any order.
    """
    flat = counts.reshape(len(counts), -1).astype(np.float64)
    return (times.astype(np.float64) @ flat).reshape(len(times), *counts.shape[1:])


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Compute the ends of the middle part of ``values`` over the first axis.

    Args:
        values: Results of all draws, (draws, …); undefined ones (nan) are left out.
        level: Share of the results inside the interval.

    Returns:
        (2, …): lower and upper end; nan where no draw has a result.
    """
    tail = (1 - level) / 2
    defined = ~np.isnan(values).all(axis=0)
    result = np.full((2, *values.shape[1:]), np.nan)
    result[:, defined] = np.nanquantile(values[:, defined], (tail, 1 - tail), axis=0)
    return result
