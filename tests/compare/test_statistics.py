"""Conclusions from differences: against numbers by hand, and against a plain loop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from mmattn.compare.image_counts import AREA_METRICS, PixelCounts, area_metric
from mmattn.compare.statistics import (
    Difference,
    ImageDraws,
    bootstrap_images,
    difference,
    std,
    t_interval,
)
from mmattn.evaluation.bootstrap import bootstrap_values


def areas(seed: int, images: int = 6, classes: int = 3, quality: float = 0.7) -> np.ndarray:
    """Counts of a made-up prediction, (images, 4, classes)."""
    generator = np.random.default_rng(seed)
    labelled = generator.integers(50, 200, (images, classes))
    predicted = generator.integers(50, 200, (images, classes))
    intersection = (np.minimum(labelled, predicted) * quality).astype(int)
    return np.stack([intersection, labelled + predicted - intersection, predicted, labelled], 1)


def bootstrap_areas(
    ours: np.ndarray, base: np.ndarray, metric: str, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The interval over seeds and images, from pixel counts (seeds, images, 4, classes)."""
    draws = ImageDraws(ours.shape[1], resamples, seed)
    drawn, base_drawn = (
        np.stack([PixelCounts(run).of_draws(metric, draws.times) for run in runs])
        for runs in (ours, base)
    )
    return bootstrap_images(drawn, base_drawn, draws.shares(len(ours)))


def test_a_metric_from_counts_is_mmsegs_metric() -> None:
    """Of three classes one is nowhere: it is left out of the mean, as mmseg does."""
    from mmseg.evaluation import IoUMetric

    counts = areas(0).sum(axis=0)
    counts[:, 2] = 0
    values = IoUMetric.total_area_to_metrics(
        *map(torch.from_numpy, counts), metrics=["mIoU", "mDice"]
    )
    for metric, key in (("mIoU", "IoU"), ("mAcc", "Acc"), ("mDice", "Dice")):
        expected = 100 * float(np.nanmean(values[key]))
        assert float(area_metric(counts, metric)) == pytest.approx(expected)
    assert float(area_metric(counts, "aAcc")) == pytest.approx(100 * float(values["aAcc"]))


def test_iou_by_hand() -> None:
    counts = np.array([[8, 1], [10, 4], [9, 3], [9, 2]])
    assert float(area_metric(counts, "mIoU")) == pytest.approx(100 * (8 / 10 + 1 / 4) / 2)
    assert float(area_metric(counts, "aAcc")) == pytest.approx(100 * 9 / 11)


def test_the_bootstrap_is_the_plain_loop() -> None:
    """The same draws, one by one: pick seeds, pick images, sum, metric, difference, mean."""
    ours = np.stack([areas(s, quality=0.8) for s in range(3)])
    base = np.stack([areas(s + 10) for s in range(3)])
    interval = bootstrap_areas(ours, base, "mIoU", resamples=50, seed=7)
    generator = np.random.default_rng(7)
    picked = generator.multinomial(6, np.full(6, 1 / 6), size=50)
    weights = generator.multinomial(3, np.full(3, 1 / 3), size=50)
    means = []
    for images, seeds in zip(picked, weights, strict=True):
        chosen = np.repeat(np.arange(6), images)
        drawn = [
            area_metric(ours[s][chosen].sum(0), "mIoU")
            - area_metric(base[s][chosen].sum(0), "mIoU")
            for s in np.repeat(np.arange(3), seeds)
        ]
        assert len(chosen) == 6
        assert len(drawn) == 3
        means.append(np.mean(drawn))
    assert interval == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_equal_networks_have_no_difference_whatever_is_drawn() -> None:
    """The same images are drawn for both, so that hard ones don't count as a difference."""
    both = np.stack([areas(s) for s in range(3)])
    assert bootstrap_areas(both, both, "mIoU") == (0.0, 0.0)


def test_the_bootstrap_of_seeds_is_that_of_all_draws() -> None:
    """Three values can be drawn in 27 orders; the percentiles of those are known."""
    values = (1.0, 2.0, 6.0)
    everything = [np.mean(draw) for draw in itertools.product(values, repeat=3)]
    low, high = bootstrap_values(values, resamples=20_000)
    # No interpolation: 20,000 draws repeat these 27 values, so that neighbours are equal.
    expected = np.quantile(everything, [0.025, 0.975], method="inverted_cdf")
    assert (low, high) == pytest.approx(tuple(expected))


def test_the_t_interval_by_hand() -> None:
    """Differences 1, 2, 3: mean 2, s = 1, t(2) = 4.303."""
    half = 4.302652729911275 / math.sqrt(3)
    assert t_interval((1.0, 2.0, 3.0)) == pytest.approx((2 - half, 2 + half))
    assert t_interval((1.0,)) is None
    assert std((1.0, 2.0, 3.0)) == 1.0
    assert std((1.0,)) is None


def test_differences_are_of_pairs() -> None:
    result = difference([41.0, 50.0, 62.0], [40.0, 49.5, 60.0])
    assert result.per_seed == (1.0, 0.5, 2.0)
    assert result.mean == pytest.approx(3.5 / 3)
    assert not result.over_images


@pytest.mark.parametrize(
    ("bootstrap", "t_range", "over_images", "verdict"),
    [
        ((0.1, 2.0), (0.2, 1.9), True, "higher"),
        ((-2.0, -0.1), (-3.0, -0.2), True, "lower"),
        ((-0.1, 2.0), (0.2, 1.9), True, "within noise"),
        ((0.1, 2.0), (-0.2, 1.9), True, "perhaps higher: 3 seeds are too few to tell"),
        ((-2.0, -0.1), (-3.0, 0.1), True, "perhaps lower: 3 seeds are too few to tell"),
        # Seeds alone, drawn from three: an interval of their own smallest and largest.
        ((0.1, 2.0), (-0.2, 1.9), False, "within noise"),
        ((0.1, 2.0), None, True, "one seed: no conclusion possible"),
    ],
)
def test_a_verdict_needs_both_intervals(bootstrap, t_range, over_images, verdict) -> None:
    assert Difference((1.0, 1.1, 0.9), bootstrap, t_range, over_images).verdict == verdict


def test_a_real_gain_is_found_and_noise_is_not() -> None:
    better = np.stack([areas(s, images=40, quality=0.9) for s in range(3)])
    base = np.stack([areas(s, images=40, quality=0.7) for s in range(3)])

    def metric(counts: np.ndarray) -> list[float]:
        return [float(area_metric(run.sum(0), "mIoU")) for run in counts]

    def verdict(ours: np.ndarray) -> str:
        draws = ImageDraws(40)
        drawn, base_drawn = (
            np.stack([PixelCounts(run).of_draws("mIoU", draws.times) for run in runs])
            for runs in (ours, base)
        )
        return difference(metric(ours), metric(base), drawn, base_drawn, draws.shares(3)).verdict

    assert verdict(better) == "higher"
    other = np.stack([areas(s + 50, images=40, quality=0.7) for s in range(3)])
    assert verdict(other) == "within noise"
    assert set(AREA_METRICS) == {"mIoU", "mAcc", "mDice", "aAcc"}
