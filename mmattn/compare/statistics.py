"""Conclusions from a comparison: is one network better than another, or is it noise?

The run of a block and the run without it that share a seed also share initial weights, data and
dropout, so they are a pair, and their difference says more than two means do. Two things could have
come out otherwise, and a difference counts only if neither explains it:

- **the seed**: another initialisation and another order of images. The differences of the seeds are
  taken as a sample from a normal distribution: paired t test with n - 1 degrees of freedom, and its
  interval, mean -+ t * s / sqrt(n). It is wide for few seeds: with three it reaches 4.3 standard
  errors to each side.
- **the validation images**: another sample of the same scenes. Images are drawn with replacement,
  the same ones for both networks and all seeds, and the mean difference of these very runs is
  computed anew, as the metric itself is: from the summed pixel counts of a segmentor, from the
  matched detections of a detector. The middle 95 % of 2000 draws is the interval; twice the smaller
  share of draws on one side of zero is the p value (Efron & Tibshirani 1993, chapter 13). It needs
  counts for each image (``image_counts``); a metric without them is judged by its seeds alone.

The p value of a difference is the larger of both: an intersection-union test (Berger 1982), which
is wrong in at most 5 % of the cases in which one of both explanations is true, whatever the other
test says. Several rows are corrected by Holm's method (1979): the chance that *any* row of equal
networks is called different stays below 5 %.

How often ``decide`` is wrong, and how often it finds a known gain, is measured, by simulation and
with real trainings of equal networks (``error_rate``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mmattn.evaluation.bootstrap import (
    LEVEL,
    Interval,
    bootstrap_values,
    draw_with_replacement,
    percentile_interval,
)

#: Number of times that images and rounds are drawn.
DRAWS = 2000
#: Chance of finding a difference that is as large as ``smallest_visible`` says.
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """Difference between a block and the network without it.

    Attributes:
        per_seed: Metric with the block minus metric without, of each seed that both have.
        t_interval: Student's t interval over seeds; None for a single seed.
        p_seeds: Two-sided p value of the paired t test over seeds; None for a single seed.
        image_interval: Bootstrap interval over images, of these seeds; None without counts.
        p_images: Two-sided p value of that bootstrap; None without counts.
    """

    per_seed: tuple[float, ...]
    t_interval: Interval | None
    p_seeds: float | None
    image_interval: Interval | None = None
    p_images: float | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.per_seed))

    @property
    def p(self) -> float | None:
        """The larger p value of seeds and images; None for a single seed."""
        if self.p_seeds is None:
            return None
        return max(self.p_seeds, self.p_images or 0.0)

    @property
    def effect_size(self) -> float | None:
        """Hedges' g of the pairs: mean / s, times 1 - 3 / (4 (n - 1) - 1) against its bias.

        None for fewer than three seeds, for which it is not defined, and where all seeds differ by
        the same.
        """
        spread, count = std(self.per_seed), len(self.per_seed)
        if not spread or count < 3:
            return None
        return self.mean / spread * (1 - 3 / (4 * (count - 1) - 1))


@dataclass(frozen=True)
class Verdict:
    """The conclusion from one row of a comparison.

    Attributes:
        word: ``higher``, ``lower``, ``within noise``, or why nothing can be said.
        p: P value after the correction; None for a single seed.
        rows: Number of rows that it was corrected for.
        visible: Smallest true difference that these seeds would find with a chance of ``POWER``;
            None for a single seed.
    """

    word: str
    p: float | None
    rows: int
    visible: float | None

    @property
    def different(self) -> bool:
        """Whether the networks are called different."""
        return self.word in ("higher", "lower")


def difference(
    values: Sequence[float],
    base_values: Sequence[float],
    drawn: np.ndarray | None = None,
    base_drawn: np.ndarray | None = None,
) -> Difference:
    """Compare the runs of equal seeds.

    Args:
        values, base_values: The metric of each seed, in the same order of seeds.
        drawn, base_drawn: Metric of each run in each draw of images, (seeds, draws), the same draws
            for all runs; nan where a draw holds no object at all. Without them, images are not
            judged.
    """
    per_seed = tuple(float(a - b) for a, b in zip(values, base_values, strict=True))
    seeds = per_seed, t_interval(per_seed), t_test(per_seed)
    if drawn is None or base_drawn is None:
        return Difference(*seeds)
    return Difference(*seeds, *bootstrap_images(drawn, base_drawn))


def decide(differences: Sequence[Difference]) -> list[Verdict]:
    """Conclude from the differences of all rows of one comparison.

    This is the only place where networks are called different.

    Args:
        differences: One for each row; rows of a single seed do not count for the correction.
    """
    tested = [entry.p for entry in differences if entry.p is not None]
    corrected = iter(holm(tested))
    verdicts = []
    for entry in differences:
        if entry.p is None:
            verdicts.append(Verdict("one seed: no conclusion possible", None, len(tested), None))
            continue
        p = next(corrected)
        word = "within noise"
        if p < 1 - LEVEL:
            word = "higher" if entry.mean > 0 else "lower"
        visible = smallest_visible(entry.per_seed, len(tested))
        verdicts.append(Verdict(word, p, len(tested), visible))
    return verdicts


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number by Holm's step-down method.

    The i-th smallest of n becomes max over j <= i of min(1, (n - j + 1) * p_j).
    """
    order = np.argsort(p_values, kind="stable")
    corrected = [1.0] * len(order)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


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


def t_test(values: Sequence[float]) -> float | None:
    """Compute the two-sided p value of Student's t test of mean zero; None for one value.

    Values that are all equal are not a sample with spread: p is 1 if they are zero, else 0.
    """
    if len(values) < 2:
        return None
    from scipy.stats import t

    spread, middle = std(values), float(np.mean(values))
    if not spread:
        return float(middle == 0)
    return float(2 * t.sf(abs(middle) * math.sqrt(len(values)) / spread, len(values) - 1))


def smallest_visible(per_seed: Sequence[float], rows: int = 1) -> float | None:
    """Compute the smallest true difference that the test over seeds finds with a chance of 80 %.

    It is d with P(|T| > t) = 0.8, where T has the noncentral t distribution of n - 1 degrees of
    freedom and noncentrality d / (s / sqrt(n)), and t is the quantile for the first of ``rows``
    rows in Holm's order. The spread s of the differences is the one that was measured.

    Args:
        per_seed: Differences of the seeds.
        rows: Number of rows that are corrected for.

    Returns:
        The difference, in the metric's unit; None for fewer than two seeds.
    """
    spread = std(per_seed)
    if spread is None:
        return None
    return spread * _visible_in_spreads(len(per_seed), rows)


@lru_cache(maxsize=256)
def _visible_in_spreads(seeds: int, rows: int) -> float:
    """Return ``smallest_visible`` for a spread of 1."""
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    freedom = seeds - 1
    limit = t.isf((1 - LEVEL) / max(rows, 1) / 2, freedom)

    def missing(noncentrality: float) -> float:
        # The other tail, a difference that is found with the wrong sign, is below 1e-3 here.
        return float(nct.sf(limit, freedom, noncentrality)) - POWER

    low, high = limit / 4, 4 * limit + 10
    while missing(high) < 0:
        high *= 2
    return float(brentq(missing, low, high, xtol=1e-3 * limit)) / math.sqrt(seeds)


def draw_images(images: int, resamples: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Draw validation images with replacement, the same ones for all networks and seeds.

    Returns:
        int64 (draws, images): how often each image is in each draw.
    """
    return draw_with_replacement(images, resamples, np.random.default_rng(seed))


def bootstrap_images(values: np.ndarray, base_values: np.ndarray) -> tuple[Interval, float]:
    """Compute interval and p value of the mean difference of these runs, over draws of images.

    Args:
        values, base_values: Metric of each run in each draw of images, (seeds, draws); nan where a
            draw holds no object at all.

    Returns:
        The percentile interval, and min(1, 2 * (1 + draws on the rarer side of zero) /
        (1 + draws)); zero itself is on both sides.
    """
    drawn = (values - base_values).mean(axis=0)
    low, high = percentile_interval(drawn)
    defined = drawn[~np.isnan(drawn)]
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return (float(low), float(high)), min(1.0, 2 * (1 + int(rarer)) / (1 + len(defined)))


def median_difference(
    values: Sequence[float], base_values: Sequence[float]
) -> tuple[float, Interval]:
    """Compute the median of ``values - base_values`` and its bootstrap interval.

    The values are measured in turn: what slowed a round down slowed both, so the rounds are pairs.
    """
    differences = np.subtract(values, base_values)
    return float(np.median(differences)), bootstrap_values(differences, np.median, resamples=DRAWS)
