"""Is one network better than another, or is it noise?

Pairs: the run of a block and the run without it that share a seed share initial weights, data and
dropout, so their difference says more than two means do. Two things could have come out otherwise:

- the seed: another initialisation and order of images;
- the validation images: another sample of the same streets.

The **bootstrap** draws both with replacement, seeds and images independently of each other, the
same images for both networks and all seeds, and computes the difference of the metric anew, from
the summed pixel counts, as the metric itself does. The middle 95 % of 2000 such draws is the
interval. It needs counts per image, so it exists for segmentation; elsewhere seeds alone are
drawn. With few seeds that part means little: three seeds can be drawn in ten ways only, among them
three times the same, and the spread of a bootstrap over n seeds is too small by sqrt((n - 1) / n).

The **t interval** takes the differences of the seeds as a sample from a normal distribution, and
pays for their small number: with three seeds it is 4.3 standard errors wide on each side. It does
not know about images.

A difference counts only if both intervals leave zero out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Interval = tuple[float, float]
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A block against the network without it.

    Attributes:
        per_seed: Metric with the block minus metric without, of each seed that both have.
        bootstrap: Over seeds, and over images if ``over_images``.
        student: The t interval; None for a single seed.
        over_images: Whether images were drawn as well.
    """

    per_seed: tuple[float, ...]
    bootstrap: Interval
    student: Interval | None
    over_images: bool

    @property
    def mean(self) -> float:
        return float(np.mean(self.per_seed))

    @property
    def verdict(self) -> str:
        """In words: what may be concluded."""
        if self.student is None:
            return "one seed: nothing can be said"
        drawn, student = _side(self.bootstrap), _side(self.student)
        if drawn and drawn == student:
            return "higher" if drawn > 0 else "lower"
        if drawn and self.over_images:
            word = "higher" if drawn > 0 else "lower"
            return f"perhaps {word}: {len(self.per_seed)} seeds are too few to tell"
        return "within noise"


def difference(
    ours: Sequence[float],
    base: Sequence[float],
    our_areas: np.ndarray | None = None,
    base_areas: np.ndarray | None = None,
    metric: str = "",
) -> Difference:
    """Compare the runs of equal seeds.

    Args:
        ours, base: The metric of each seed, in the same order of seeds.
        our_areas, base_areas: (seeds, images, 4, classes): pixel counts behind the metric.
        metric: Its name, for the areas.
    """
    per_seed = tuple(float(a - b) for a, b in zip(ours, base, strict=True))
    over_images = our_areas is not None and base_areas is not None
    if over_images:
        interval = bootstrap_areas(our_areas, base_areas, metric)
    else:
        interval = bootstrap_seeds(per_seed)
    return Difference(per_seed, interval, student_interval(per_seed), over_images)


def spread(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds (n - 1); None for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def student_interval(values: Sequence[float]) -> Interval | None:
    """mean -+ t * s / sqrt(n), with t of n - 1 degrees of freedom."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    half = t.ppf((1 + LEVEL) / 2, len(values) - 1) * spread(values) / math.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def bootstrap_seeds(values: Sequence[float], draws: int = 2000, seed: int = 0) -> Interval:
    """Percentile interval of the mean of ``values`` drawn with replacement."""
    generator = np.random.default_rng(seed)
    picked = generator.integers(len(values), size=(draws, len(values)))
    return _middle(np.asarray(values)[picked].mean(axis=1))


def bootstrap_areas(
    ours: np.ndarray, base: np.ndarray, metric: str, draws: int = 2000, seed: int = 0
) -> Interval:
    """Percentile interval of the mean difference, over seeds and images.

    Args:
        ours, base: (seeds, images, 4, classes)
        metric: One of ``AREA_METRICS``.
        draws: How many.
        seed: Of the draws.
    """
    seeds, images = ours.shape[:2]
    generator = np.random.default_rng(seed)
    # How often each image, and each seed, is in each draw.
    picked = generator.multinomial(images, np.full(images, 1 / images), size=draws)
    weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    total = np.zeros(draws)
    for index in range(seeds):
        ours_drawn = area_metric(_summed(picked, ours[index]), metric)
        base_drawn = area_metric(_summed(picked, base[index]), metric)
        total += weights[:, index] * (ours_drawn - base_drawn)
    return _middle(total)


def median_difference(
    ours: Sequence[float], base: Sequence[float], draws: int = 2000, seed: int = 0
) -> tuple[float, Interval]:
    """Median of ``ours - base`` over measurements made in turn, and its bootstrap interval.

    What slowed a round down slowed both, so the rounds are pairs.
    """
    differences = np.subtract(ours, base)
    generator = np.random.default_rng(seed)
    picked = generator.integers(len(differences), size=(draws, len(differences)))
    return float(np.median(differences)), _middle(np.median(differences[picked], axis=1))


def area_metric(areas: np.ndarray, metric: str) -> np.ndarray:
    """A segmentation metric, in percent, from pixel counts.

    Args:
        areas: (..., 4, classes): intersection, union, predicted, labelled. Classes that are not
            there at all are left out of means.
        metric: One of ``AREA_METRICS``.
    """
    intersection, union, predicted, labelled = np.moveaxis(areas.astype(np.float64), -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric == "aAcc":
            return 100 * intersection.sum(-1) / labelled.sum(-1)
        per_class = {
            "mIoU": lambda: intersection / union,
            "mAcc": lambda: intersection / labelled,
            "mDice": lambda: 2 * intersection / (predicted + labelled),
        }[metric]()
    return 100 * np.nanmean(per_class, axis=-1)


AREA_METRICS = ("mIoU", "mAcc", "mDice", "aAcc")


def _summed(picked: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """(draws, 4, classes) from (draws, images) and (images, 4, classes)."""
    flat = areas.reshape(len(areas), -1).astype(np.float64)
    return (picked @ flat).reshape(len(picked), *areas.shape[1:])


def _middle(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _side(interval: Interval) -> int:
    """1 above zero, -1 below it, 0 around it."""
    return (interval[0] > 0) - (interval[1] < 0)
