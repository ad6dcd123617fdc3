"""Deletion and insertion: closed forms of a linear score, baselines and intervals."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmattn.explain import faithfulness as f
from mmattn.explain.checks import masked_score

WEIGHTS = np.array([[0.4, 0.3], [0.2, 0.1]])


def linear(x: Tensor) -> float:
    return float((x[0, 0].double() * torch.from_numpy(WEIGHTS)).sum())


def areas(values: np.ndarray, **options) -> f.Areas:
    image = torch.ones(1, 1, 2, 2)
    nothing = torch.zeros_like(image)
    return f.deletion_insertion(
        linear, image, values, deleted=nothing, hidden=nothing, steps=4, **options
    )


def test_a_linear_score() -> None:
    found = areas(WEIGHTS)
    assert found.deletion == pytest.approx(0.375) and found.insertion == pytest.approx(0.625)
    inverse = areas(-WEIGHTS)
    assert inverse.deletion == pytest.approx(0.625) and inverse.insertion == pytest.approx(0.375)
    assert areas(WEIGHTS**3) == found, "only the order of a map counts"
    assert found.normalized_deletion == pytest.approx(found.deletion)


def test_all_orders_of_a_linear_score() -> None:
    found = [areas(np.array(order, float).reshape(2, 2)) for order in permutations(range(4))]
    deletions = np.array([one.deletion for one in found])
    assert deletions.mean() == pytest.approx(0.5)
    assert deletions.std() == pytest.approx(0.0721687836, abs=1e-9)
    assert [one.deletion + one.insertion for one in found] == pytest.approx([1] * 24)


def test_a_constant_score_and_pixels_that_stay() -> None:
    assert f.area_under([0.7] * 11) == pytest.approx(0.7)
    kept = np.array([[False, True], [True, True]])
    found = areas(WEIGHTS, allowed=kept)
    # 0.4 stays throughout: the scores go from 1 to 0.4 by 0.3, 0.2 and 0.1, in four steps.
    assert found.deletion > areas(WEIGHTS).deletion
    assert f.score_curve(
        linear, torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), np.array([1, 2, 3]), 3
    ) == pytest.approx([1, 0.7, 0.5, 0.4])


def test_ties_are_broken_by_the_seed_alone() -> None:
    flat = np.zeros((8, 8))
    first, again, other = (f.removal_order(flat, seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()
    assert sorted(first.tolist()) == list(range(64))
    assert f.removal_order(np.array([[1.0, 3.0, 2.0]])).tolist() == [1, 2, 0]


def test_a_blur_keeps_constants_and_the_mean_of_the_inside() -> None:
    constant = torch.full((1, 3, 20, 30), 2.5)
    torch.testing.assert_close(f.blurred(constant), constant)
    point = torch.zeros(1, 1, 41, 41)
    point[0, 0, 20, 20] = 1
    spread = f.blurred(point)
    assert spread.sum().item() == pytest.approx(1, abs=1e-5)
    assert spread[0, 0, 20, 20] < 0.5
    torch.testing.assert_close(spread, spread.mT)
    assert f.blurred(torch.ones(1, 3, 2, 3)).shape == (1, 3, 2, 3)
    point = torch.zeros(1, 1, 224, 224)
    point[0, 0, 100, 100] = 1
    kernel = f.blurred(point)[0, 0]
    assert [int((kernel.sum(axis) > 0).sum()) for axis in (0, 1)] == [11, 11], "that of RISE"
    row = torch.exp(-(torch.arange(-5.0, 6) ** 2) / 50)
    torch.testing.assert_close(kernel[100, 95:106], row / row.sum() * (1 / row.sum()))


def test_an_image_dimmed_by_its_map() -> None:
    image = torch.ones(1, 1, 1, 4)
    weights = torch.tensor([0.4, 0.3, 0.2, 0.1])
    score = lambda x: float((x[0, 0, 0] * weights).sum())  # noqa: E731
    all_pixels = np.ones((1, 4), bool)
    first = masked_score(score, image, np.array([[2.0, 0, 0, 0]]), 1.0, all_pixels)
    assert first.drop == pytest.approx(0.6) and first.increase == first.gain == 0
    ones = masked_score(score, image, np.ones((1, 4)), 1.0, all_pixels)
    assert (ones.drop, ones.increase, ones.gain) == (0, 0, 0)
    against = lambda x: 0.5 - float((x[0, 0, 0] * weights)[2:].sum())  # noqa: E731
    better = masked_score(against, image, np.array([[1.0, 1, 0, 0]]), 0.2, all_pixels)
    assert (better.drop, better.increase) == (0, 1) and better.gain == pytest.approx(0.3 / 0.8)
    # The first pixel is the target's own: it stays, and its value scales nothing.
    context = np.array([[False, True, True, True]])
    left_alone = masked_score(score, image, np.array([[8.0, 2, 0, 0]]), 1.0, context)
    assert left_alone.drop == pytest.approx(0.3)


def test_baselines() -> None:
    prior = f.centre_prior((9, 13))
    assert np.unravel_index(prior.argmax(), prior.shape) == (4, 6)
    step = torch.zeros(1, 3, 6, 8)
    step[..., 4:] = 1
    edges = f.edge_map(step)
    assert (edges[:, [3, 4]] > 0).all() and (edges[:, [0, 1, 2, 5, 6, 7]] == 0).all()


def test_the_interval_holds_the_mean_and_is_always_the_same() -> None:
    values = np.random.default_rng(0).normal(1, 1, 200)
    mean, low, high = f.bootstrap_interval(values)
    assert low < mean < high and high - low == pytest.approx(2 * 1.96 / 200**0.5, rel=0.2)
    assert f.bootstrap_interval(values) == (mean, low, high)
    assert f.bootstrap_interval([3.0, float("nan")]) == (3, 3, 3)


def test_pointing_and_energy() -> None:
    values, mask = np.zeros((40, 40)), np.zeros((40, 40), bool)
    mask[20, 20] = True
    values[20, 34] = 1
    assert f.pointing_game(values, mask) and not f.pointing_game(values, mask, 14)
    values[20, 6] = 1  # two maxima: their middle counts
    assert f.pointing_game(values, mask, 1)
    values[20, 20] = 2
    assert f.energy_inside(values, mask) == pytest.approx(0.5)


def test_spearman_knows_order_alone() -> None:
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert f.spearman(a, np.exp(a)) == pytest.approx(1)
    assert f.spearman(a, -(a**3)) == pytest.approx(-1)
    assert f.spearman(a, np.ones((2, 2))) == 0
