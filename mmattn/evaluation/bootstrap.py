"""How much a score depends on which images happen to be in the test set.

The images are drawn again with replacement, as many as there are, and the score is computed from
the counts of those drawn; the range that holds the middle 95 % of many such scores is the interval
(Efron's percentile bootstrap). Images, not pixels, are drawn, since the pixels of one image are
right or wrong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Counts = Mapping[str, np.ndarray]
# Draws computed at a time.
_PIECE = 64


def bootstrap_intervals(
    counts: Counts,
    scores: Callable[[Counts], Mapping[str, np.ndarray]],
    *,
    resamples: int,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Intervals of all scores.

    Args:
        counts: Name -> integers of shape (images, classes). The result depends on the order of
            images, so bring them into one that is always the same.
        scores: Computes from counts of shape (draws, classes) scores of shape (draws, …).
        resamples: How many times the images are drawn.
        level: Share of the scores inside of the interval.
        seed: Of the draws.

    Returns:
        Name -> (2, …): lower and upper end; nan where no draw has a score.
    """
    names, shapes = list(counts), [one.shape[1] for one in counts.values()]
    table = np.concatenate([counts[name] for name in names], axis=1).astype(np.float64)
    images = len(table)
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn: dict[str, list[np.ndarray]] = {}
    for start in range(0, resamples, _PIECE):
        draws = min(_PIECE, resamples - start)
        times = generator.multinomial(images, np.full(images, 1 / images), size=draws)
        sums = times.astype(np.float64) @ table  # whole numbers below 2**53: exact in any order
        parts = np.split(sums, np.cumsum(shapes)[:-1], axis=1)
        for name, values in scores(dict(zip(names, parts, strict=True))).items():
            drawn.setdefault(name, []).append(values)
    tail = (1 - level) / 2
    return {
        name: _quantiles(np.concatenate(values), (tail, 1 - tail)) for name, values in drawn.items()
    }


def _quantiles(values: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
    """Quantiles over the first axis, undefined values left out."""
    defined = ~np.isnan(values).all(axis=0)
    result = np.full((2, *values.shape[1:]), np.nan)
    result[:, defined] = np.nanquantile(values[:, defined], levels, axis=0)
    return result
