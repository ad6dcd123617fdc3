"""Statistics of attention: values of a float64 reference, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmattn.explain import statistics


def example() -> np.ndarray:
    """One head on a grid of 2 x 3."""
    i, j = np.mgrid[:6, :6].astype(float)
    weights = np.exp(2 * np.sin(0.7 * i * j + 0.4 * i + 1.1 * j))
    return (weights / weights.sum(1, keepdims=True))[None]


def test_values_are_those_of_the_reference() -> None:
    a = example()
    row = [0.076309605, 0.453598993, 0.384441495, 0.055662542, 0.01137701, 0.018610355]
    np.testing.assert_allclose(a[0, 0], row, atol=1e-9)
    expected = {
        "entropy": 1.28341773,
        "normalized_entropy": 0.716289072,
        "effective_keys": 3.6152771,
        "mean_distance": 1.31523633,
        "locality": 0.697413503,
        "nmi": 0.260447007,
        "sink_mass": 0.263035232,
        "sink_key": 0,
    }
    found = statistics.summarize(a, (2, 3))
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-8), name
    assert statistics.mutual_information(a)[0] == pytest.approx(0.460368802, abs=1e-8)
    assert statistics.key_entropy(a)[0] == pytest.approx(1.74378653, abs=1e-8)
    per_row = [1.208290351, 1.330893573, 1.349252787, 1.196379102, 1.318610778, 1.29707977]
    for index, value in enumerate(per_row):
        assert statistics.entropy(a[:, index : index + 1])[0] == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [((2, 3), 1.17383279), ((4, 4), 2.00801497), ((8, 8), 4.13648271), ((14, 14), 7.28076419)],
)
def test_uniform_attention(grid: tuple[int, int], expected: float) -> None:
    count = grid[0] * grid[1]
    uniform = np.full((1, count, count), 1 / count)
    found = statistics.summarize(uniform, grid, step=16)
    assert found["mean_distance"][0] == pytest.approx(16 * expected, abs=1e-5)
    assert found["normalized_entropy"][0] == pytest.approx(1)
    assert found["effective_keys"][0] == pytest.approx(count)
    assert found["nmi"][0] == pytest.approx(0, abs=1e-12)
    assert found["sink_mass"][0] == pytest.approx(1 / count)
    assert found["diagonal_mass"][0] == pytest.approx(1 / count)
    assert statistics.hop_strength(uniform, grid).sum() == pytest.approx(1)


def test_a_permutation_and_blocks() -> None:
    turn = np.roll(np.eye(12), 1, axis=1)[None]
    assert statistics.normalized_mutual_information(turn)[0] == pytest.approx(1)
    assert statistics.entropy(turn)[0] == 0
    identity = statistics.summarize(np.eye(12)[None], (3, 4))
    assert identity["mean_distance"][0] == 0 and identity["locality"][0] == 1
    blocks = np.kron(np.eye(3), np.full((4, 4), 0.25))[None]
    expected = math.log(3) / math.log(12)
    assert statistics.normalized_mutual_information(blocks)[0] == pytest.approx(expected)


def test_masked_keys_do_not_count() -> None:
    blocks = np.kron(np.eye(3), np.full((4, 4), 0.25))[None]
    assert statistics.summarize(blocks)["normalized_entropy"][0] == pytest.approx(1)
    assert statistics.normalized_entropy(blocks)[0] == pytest.approx(math.log(4) / math.log(12))


def test_heads_are_alike_or_not() -> None:
    a = example()[0]
    assert statistics.head_similarity(np.stack([a, a])) == pytest.approx(1)
    apart = np.stack([np.eye(6), np.roll(np.eye(6), 1, axis=1)])
    assert statistics.head_similarity(apart) == pytest.approx(0)
    assert math.isnan(statistics.head_similarity(a[None]))


def test_cross_attention_has_no_grid_of_its_own() -> None:
    found = statistics.summarize(np.full((2, 5, 12), 1 / 12))
    assert "mean_distance" not in found and "diagonal_mass" not in found
    assert found["nmi"] == pytest.approx(np.zeros(2), abs=1e-12)
