"""Conclusions from a comparison: is one network better than another, or is it noise?

The run of a block and the run without it that share a seed also share initial weights, data and
dropout, so they are a pair, and their difference says more than two means do. Two things could have
come out otherwise:

- the seed: another initialisation and another order of images;
- the validation images: another sample of the same scenes.

The **bootstrap** draws both with replacement, seeds and images independently of each other, the
same images for both networks and all seeds, and computes the difference of the metric anew, as the
metric itself does: from the summed pixel counts of a segmentor, from the matched detections of a
detector. The middle 95 % of 2000 such draws is the interval. It needs counts for each image
(``image_counts``); for a metric without them only seeds are drawn. With few seeds that part means
little: three seeds can be drawn in ten ways only, among them three times the same, and the standard
deviation of a bootstrap over n seeds is too small by the factor sqrt((n - 1) / n).

The **t interval** takes the differences of the seeds as a sample from a normal distribution, and is
wide if there are few: with three seeds it reaches 4.3 standard errors to each side. It does not
know about images.

A difference counts only if both intervals exclude zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np

from mmattn.evaluation.bootstrap import (
    LEVEL,
    Interval,
    bootstrap_values,
    draw_with_replacement,
    percentile_interval,
)

#: Number of times that seeds, images and rounds are drawn.
DRAWS = 2000


@dataclass(frozen=True)
class Difference:
    """Difference between a block and the network without it.

    Attributes:
        per_seed: Metric with the block minus metric without, of each seed that both have.
        bootstrap: Bootstrap interval, over seeds, and over images if ``over_images``.
        t_interval: Student's t interval over seeds; None for a single seed.
        over_images: Whether images were drawn as well.
    """

    per_seed: tuple[float, ...]
    bootstrap: Interval
    t_interval: Interval | None
    over_images: bool

    @property
    def mean(self) -> float:
        return float(np.mean(self.per_seed))

    @property
    def verdict(self) -> str:
        """The conclusion, in words."""
        if self.t_interval is None:
            return "one seed: no conclusion possible"
        bootstrap, t = _sign(self.bootstrap), _sign(self.t_interval)
        if bootstrap and bootstrap == t:
            return "higher" if bootstrap > 0 else "lower"
        if bootstrap and self.over_images:
            word = "higher" if bootstrap > 0 else "lower"
            return f"perhaps {word}: {len(self.per_seed)} seeds are too few to tell"
        return "within noise"


def difference(
    values: Sequence[float],
    base_values: Sequence[float],
    drawn: np.ndarray | None = None,
    base_drawn: np.ndarray | None = None,
    shares: np.ndarray | None = None,
) -> Difference:
    """Compare the runs of equal seeds.

    Args:
        values, base_values: The metric of each seed, in the same order of seeds.
        drawn, base_drawn, shares: See ``bootstrap_images``; without them, seeds alone are drawn.
    """
    per_seed = tuple(float(a - b) for a, b in zip(values, base_values, strict=True))
    if drawn is None or base_drawn is None or shares is None:
        interval = bootstrap_values(per_seed, resamples=DRAWS)
        return Difference(per_seed, interval, t_interval(per_seed), False)
    interval = bootstrap_images(drawn, base_drawn, shares)
    return Difference(per_seed, interval, t_interval(per_seed), True)


def std(values: Sequence[float]) -> float | None:
    """Compute the standard deviation over seeds (n - 1); None for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def t_interval(values: Sequence[float]) -> Interval | None:
    """Compute mean -+ t * s / sqrt(n), with t of n - 1 degrees of freedom; None for one value."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    half = t.ppf((1 + LEVEL) / 2, len(values) - 1) * std(values) / math.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


class ImageDraws:
    """Draws of validation images, the same ones for all networks and seeds.

    Args:
        images: Number of images.
        resamples: Number of draws.
        seed: Random seed of the draws.

    Attributes:
        times: How often each image is in each draw, int64 (draws, images).
    """

    def __init__(self, images: int, resamples: int = DRAWS, seed: int = 0) -> None:
        self._generator = np.random.default_rng(seed)
        self.times = draw_with_replacement(images, resamples, self._generator)

    def shares(self, seeds: int) -> np.ndarray:
        """Draw seeds, independently of the images; return the share of each, (draws, seeds)."""
        generator = deepcopy(self._generator)  # the same for every network
        return draw_with_replacement(seeds, len(self.times), generator) / seeds


def bootstrap_images(values: np.ndarray, base_values: np.ndarray, shares: np.ndarray) -> Interval:
    """Compute the percentile interval of the mean difference, over seeds and images.

    Args:
        values, base_values: Metric of each run in each draw of images, (seeds, draws); nan where a
            draw holds no object at all.
        shares: Share of each seed in each draw, (draws, seeds).
    """
    low, high = percentile_interval((shares.T * (values - base_values)).sum(axis=0))
    return float(low), float(high)


def median_difference(
    values: Sequence[float], base_values: Sequence[float]
) -> tuple[float, Interval]:
    """Compute the median of ``values - base_values`` and its bootstrap interval.

    The values are measured in turn: what slowed a round down slowed both, so the rounds are pairs.
    """
    differences = np.subtract(values, base_values)
    return float(np.median(differences)), bootstrap_values(differences, np.median, resamples=DRAWS)


def _sign(interval: Interval) -> int:
    """Return 1 for an interval above zero, -1 for one below it, 0 for one that includes it."""
    return (interval[0] > 0) - (interval[1] < 0)
