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
    bootstrap_images,
    decide,
    difference,
    draw_images,
    holm,
    smallest_visible,
    std,
    t_interval,
    t_test,
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
) -> tuple[tuple[float, float], float]:
    """Interval and p value over images, from pixel counts (seeds, images, 4, classes)."""
    times = draw_images(ours.shape[1], resamples, seed)
    drawn, base_drawn = (
        np.stack([PixelCounts(run).of_draws(metric, times) for run in runs])
        for runs in (ours, base)
    )
    return bootstrap_images(drawn, base_drawn)


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
    """The same draws, one by one: pick images, sum, metric, difference, mean over the seeds."""
    ours = np.stack([areas(s, quality=0.8) for s in range(3)])
    base = np.stack([areas(s + 10, quality=0.78) for s in range(3)])
    interval, p = bootstrap_areas(ours, base, "mIoU", resamples=50, seed=7)
    picked = np.random.default_rng(7).multinomial(6, np.full(6, 1 / 6), size=50)
    means = []
    for images in picked:
        chosen = np.repeat(np.arange(6), images)
        drawn = [
            area_metric(ours[s][chosen].sum(0), "mIoU")
            - area_metric(base[s][chosen].sum(0), "mIoU")
            for s in range(3)
        ]
        assert len(chosen) == 6
        means.append(np.mean(drawn))
    assert interval == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    rarer = min(sum(m <= 0 for m in means), sum(m >= 0 for m in means))
    assert p == pytest.approx(2 * (1 + rarer) / 51) and rarer > 0, "a case with both signs"


def test_equal_networks_have_no_difference_whatever_is_drawn() -> None:
    """The same images are drawn for both, so that hard ones don't count as a difference."""
    both = np.stack([areas(s) for s in range(3)])
    assert bootstrap_areas(both, both, "mIoU") == ((0.0, 0.0), 1.0)


def test_a_draw_without_any_object_is_left_out() -> None:
    values = np.array([[1.0, np.nan, 3.0]])
    assert bootstrap_images(values, np.zeros((1, 3)))[1] == pytest.approx(2 / 3)


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


def test_the_t_test_by_hand() -> None:
    """Differences 1, 2, 3: t = 2 / (1 / sqrt(3)) = 3.464 with two degrees of freedom.

    The distribution function for two degrees is 1/2 + t / (2 sqrt(2 + t^2)).
    """
    t = 2 * math.sqrt(3)
    assert t_test((1.0, 2.0, 3.0)) == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert t_test((1.0,)) is None
    assert (t_test((0.0, 0.0)), t_test((0.5, 0.5))) == (1.0, 0.0), "no spread at all"


def test_p_and_interval_say_the_same() -> None:
    """The interval leaves zero out exactly where p is below 0.05."""
    generator = np.random.default_rng(0)
    for values in generator.normal(0.8, 1.0, (200, 4)):
        low, high = t_interval(values)
        assert (low > 0 or high < 0) == (t_test(values) < 0.05)


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.03 x 3, 0.04 x 2 (raised to 0.09), 0.6 x 1; in the order that was given."""
    assert holm([0.04, 0.01, 0.6, 0.03]) == pytest.approx([0.09, 0.04, 0.6, 0.09])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_keeps_the_chance_of_any_error() -> None:
    """Ten rows without a difference: one or more is called so in 5 % of the tables, not in 40 %."""
    tables = np.random.default_rng(0).uniform(size=(2000, 10))
    any_error = np.mean([min(holm(row)) < 0.05 for row in tables])
    assert any_error == pytest.approx(0.05, abs=0.015)
    assert np.mean(tables.min(axis=1) < 0.05) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(("seeds", "rows"), [(3, 1), (5, 1), (5, 4)])
def test_the_smallest_visible_difference_is_found_in_four_of_five(seeds: int, rows: int) -> None:
    """By drawing it: normal differences of that mean, tested at the level of the first row."""
    unit = [0.0] * (seeds - 1) + [math.sqrt(seeds)]
    assert std(unit) == pytest.approx(1.0)
    visible = smallest_visible(unit, rows)
    drawn = np.random.default_rng(1).normal(visible, 1.0, (4000, seeds))
    found = np.mean([t_test(values) < 0.05 / rows for values in drawn])
    assert found == pytest.approx(0.8, abs=0.02)
    assert smallest_visible([1.0]) is None
    assert smallest_visible([2 * value for value in unit], rows) == pytest.approx(2 * visible)


def test_differences_are_of_pairs() -> None:
    result = difference([41.0, 50.0, 62.0], [40.0, 49.5, 60.0])
    assert result.per_seed == (1.0, 0.5, 2.0)
    assert result.mean == pytest.approx(3.5 / 3)
    assert result.image_interval is None and result.p == result.p_seeds
    # mean / s = 1.1667 / 0.7638, times 1 - 3 / 7.
    assert result.effect_size == pytest.approx(3.5 / 3 / 0.7637626 * 4 / 7)
    assert difference([1.0, 2.0], [0.5, 1.8]).effect_size is None, "two seeds are too few"


def of(mean: float, p_seeds: float | None, p_images: float | None = None) -> Difference:
    return Difference((mean - 0.1, mean, mean + 0.1), (0.0, 0.0), p_seeds, (0.0, 0.0), p_images)


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (of(1.0, 0.01, 0.04), "higher"),
        (of(-1.0, 0.04, 0.01), "lower"),
        (of(1.0, 0.06, 0.001), "within noise"),
        (of(1.0, 0.001, 0.06), "within noise"),
        (of(1.0, 0.01, None), "higher"),
        (of(1.0, None, 0.01), "one seed: no conclusion possible"),
    ],
)
def test_a_verdict_needs_seeds_and_images(row: Difference, word: str) -> None:
    verdict = decide([row])[0]
    assert verdict.word == word
    assert verdict.different == (word in ("higher", "lower"))


def test_more_rows_need_more_evidence() -> None:
    """p 0.02 is enough alone, and among rows that say nothing it is not."""
    row, noise = of(1.0, 0.02, 0.01), of(0.1, 0.8, 0.9)
    assert decide([row])[0].word == "higher"
    verdicts = decide([row, noise, noise, of(1.0, None)])
    assert [verdict.word for verdict in verdicts[:3]] == ["within noise"] * 3
    assert verdicts[0].p == pytest.approx(0.06)
    assert verdicts[0].rows == 3, "a row of one seed is not tested"


def test_a_real_gain_is_found_and_noise_is_not() -> None:
    better = np.stack([areas(s, images=40, quality=0.9) for s in range(3)])
    base = np.stack([areas(s, images=40, quality=0.7) for s in range(3)])

    def metric(counts: np.ndarray) -> list[float]:
        return [float(area_metric(run.sum(0), "mIoU")) for run in counts]

    def word(ours: np.ndarray) -> str:
        times = draw_images(40)
        drawn, base_drawn = (
            np.stack([PixelCounts(run).of_draws("mIoU", times) for run in runs])
            for runs in (ours, base)
        )
        return decide([difference(metric(ours), metric(base), drawn, base_drawn)])[0].word

    assert word(better) == "higher"
    other = np.stack([areas(s + 50, images=40, quality=0.7) for s in range(3)])
    assert word(other) == "within noise"
    assert set(AREA_METRICS) == {"mIoU", "mAcc", "mDice", "aAcc"}
