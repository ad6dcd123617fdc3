"""Intervals over images: those of plain resampling, and right about a known distribution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmattn.evaluation.bootstrap import bootstrap_intervals, bootstrap_values


def share(counts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with np.errstate(invalid="ignore"):
        per_class = counts["hit"] / counts["all"]
    return {"share": per_class, "total": counts["hit"].sum(-1) / counts["all"].sum(-1)}


def test_equals_scores_of_images_drawn_one_by_one() -> None:
    rng = np.random.default_rng(0)
    counts = {"all": rng.integers(1, 50, (12, 3))}
    counts["hit"] = rng.integers(0, counts["all"] + 1)
    found = bootstrap_intervals(counts, share, resamples=150, seed=7)

    # The same draws, but images added one after the other.
    generator = np.random.Generator(np.random.PCG64(7))
    drawn = []
    for draws in (64, 64, 22):
        for times in generator.multinomial(12, np.full(12, 1 / 12), size=draws):
            sums = {name: np.zeros(3) for name in counts}
            for image, often in enumerate(times):
                for _ in range(often):
                    for name in counts:
                        sums[name] += counts[name][image]
            drawn.append(share(sums))
    for name, (low, high) in found.items():
        values = np.stack([one[name] for one in drawn])
        assert low == pytest.approx(np.quantile(values, 0.025, axis=0), rel=1e-12)
        assert high == pytest.approx(np.quantile(values, 0.975, axis=0), rel=1e-12)


def test_width_is_that_of_a_mean_of_independent_images() -> None:
    """Images of equal size: the score is a mean, whose standard error is known."""
    rng = np.random.default_rng(1)
    n = 200
    counts = {"hit": rng.integers(0, 101, (n, 1)), "all": np.full((n, 1), 100)}
    low, high = bootstrap_intervals(counts, share, resamples=2000)["total"]
    error = (counts["hit"] / 100).std() / np.sqrt(n)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert low < counts["hit"].sum() / counts["all"].sum() < high


def test_a_class_without_pixels_has_no_interval() -> None:
    counts = {"hit": np.array([[1, 0], [2, 0]]), "all": np.array([[2, 0], [2, 0]])}
    low, high = bootstrap_intervals(counts, share, resamples=50)["share"]
    assert np.isnan([low[1], high[1]]).all()
    assert low[0] == 0.5
    assert high[0] == 1.0


def test_the_interval_of_a_median_is_that_of_all_draws() -> None:
    """Three values can be drawn in 27 orders; the percentiles of their medians are known."""
    values = (1.0, 2.0, 6.0)
    everything = [np.median(draw) for draw in itertools.product(values, repeat=3)]
    interval = bootstrap_values(values, np.median, resamples=20_000)
    expected = np.quantile(everything, [0.025, 0.975], method="inverted_cdf")
    assert interval == pytest.approx(tuple(expected))
    assert bootstrap_values([2.0, 2.0]) == (2.0, 2.0)
