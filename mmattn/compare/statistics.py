"""Conclusions from a comparison: is one network better than another, or is it noise?

The run of a block and the run without it that share a seed also share initial weights, data and
dropout, so they are a pair, and their difference says more than two means do. Two things could have
come out otherwise:

- the seed: another initialisation and another order of images;
- the validation images: another sample of the same streets.

The **bootstrap** draws both with replacement, seeds and images independently of each other, the
same images for both networks and all seeds, and computes the difference of the metric anew, from
the summed pixel counts, as the metric itself does. The middle 95 % of 2000 such draws is the
interval. It needs counts for each image, so it exists for segmentation; elsewhere only seeds are
drawn. With few seeds that part means little: three seeds can be drawn in ten ways only, among them
three times the same, and the standard deviation of a bootstrap over n seeds is too small by the
factor sqrt((n - 1) / n).

The **t interval** takes the differences of the seeds as a sample from a normal distribution, and is
wide if there are few: with three seeds it reaches 4.3 standard errors to each side. It does not
know about images.

A difference counts only if both intervals exclude zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmattn.evaluation.bootstrap import (
    LEVEL,
    Interval,
    bootstrap_values,
    draw_with_replacement,
    percentile_interval,
    sum_drawn,
)
from mmattn.evaluation.semantic.scores import class_scores, mean_over_classes, pixel_accuracy

#: Number of times that seeds, images and rounds are drawn.
DRAWS = 2000
# Metric that follows from pixel counts -> its group in ``scores.METRICS``, its score per class.
_CLASS_SCORES = {"mIoU": ("mIoU", "IoU"), "mAcc": ("mIoU", "Acc"), "mDice": ("mDice", "Dice")}
AREA_METRICS = (*_CLASS_SCORES, "aAcc")


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
    areas: np.ndarray | None = None,
    base_areas: np.ndarray | None = None,
    metric: str = "",
) -> Difference:
    """Compare the runs of equal seeds.

    Args:
        values, base_values: The metric of each seed, in the same order of seeds.
        areas, base_areas: Pixel counts behind the metric, (seeds, images, 4, classes).
        metric: Name of the metric, to compute it from the areas.
    """
    per_seed = tuple(float(a - b) for a, b in zip(values, base_values, strict=True))
    over_images = areas is not None and base_areas is not None
    if over_images:
        interval = bootstrap_areas(areas, base_areas, metric)
    else:
        interval = bootstrap_values(per_seed, resamples=DRAWS)
    return Difference(per_seed, interval, t_interval(per_seed), over_images)


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


def bootstrap_areas(
    areas: np.ndarray, base_areas: np.ndarray, metric: str, resamples: int = DRAWS, seed: int = 0
) -> Interval:
    """Compute the percentile interval of the mean difference, over seeds and images.

    Args:
        areas, base_areas: Pixel counts of both networks, (seeds, images, 4, classes).
        metric: Name of the metric, one of ``AREA_METRICS``.
        resamples: Number of times that seeds and images are drawn.
        seed: Random seed of the draws.
    """
    seeds, images = areas.shape[:2]
    generator = np.random.default_rng(seed)
    times = draw_with_replacement(images, resamples, generator)
    weights = draw_with_replacement(seeds, resamples, generator) / seeds
    total = np.zeros(resamples)
    for index in range(seeds):
        drawn = area_metric(sum_drawn(times, areas[index]), metric)
        base_drawn = area_metric(sum_drawn(times, base_areas[index]), metric)
        total += weights[:, index] * (drawn - base_drawn)
    low, high = percentile_interval(total)
    return float(low), float(high)


def median_difference(
    values: Sequence[float], base_values: Sequence[float]
) -> tuple[float, Interval]:
    """Compute the median of ``values - base_values`` and its bootstrap interval.

    The values are measured in turn: what slowed a round down slowed both, so the rounds are pairs.
    """
    differences = np.subtract(values, base_values)
    return float(np.median(differences)), bootstrap_values(differences, np.median, resamples=DRAWS)


def area_metric(areas: np.ndarray, metric: str) -> np.ndarray:
    """Compute a segmentation metric, in percent, from pixel counts.

    Args:
        areas: Pixels of each class, (..., 4, classes): hit, union, predicted, labelled, as
            ``ClasswiseIoUMetric.areas`` has them. Classes that are neither labelled nor predicted
            are left out of means.
        metric: Name of the metric, one of ``AREA_METRICS``.
    """
    hit, _, predicted, labelled = np.moveaxis(areas.astype(np.float64), -2, 0)
    counts = {"hit": hit, "predicted": predicted, "labelled": labelled}
    if metric == "aAcc":
        return 100 * pixel_accuracy(counts)
    group, score = _CLASS_SCORES[metric]
    return 100 * mean_over_classes(class_scores(counts, [group])[score])


def _sign(interval: Interval) -> int:
    """Return 1 for an interval above zero, -1 for one below it, 0 for one that includes it."""
    return (interval[0] > 0) - (interval[1] < 0)
