"""Attention rollout and flow: values of a float64 reference, and closed forms."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from scipy import sparse

from mmattn.errors import ConfigError
from mmattn.explain.rollout import (
    attention_flow,
    fuse_heads,
    merge_matrix,
    rollout_rows,
    with_residual,
)

#: Rows of the rollout of ``layers()`` by fusion of the heads.
ROLLOUT = {
    ("mean", 0): "0.330328219 0.238083731 0.232038129 0.199549921",
    ("mean", 1): "0.223853729 0.293656656 0.29870741 0.183782205",
    ("mean", 2): "0.24100075 0.219264298 0.300674957 0.239059996",
    ("mean", 3): "0.238030886 0.223956664 0.18465771 0.35335474",
    ("max", 0): "0.311894853 0.244509245 0.260333521 0.183262381",
    ("max", 3): "0.264138471 0.231471127 0.209236237 0.295154166",
    ("min", 0): "0.387539085 0.209575782 0.159317738 0.243567395",
    ("min", 3): "0.191579436 0.20668268 0.133865828 0.467872055",
}
FLOW = """1 0.953826413 0.645107298 0.719186249
0.61590094 0.745956626 0.624542141 0.44249113
0.802592265 0.921944476 0.821475058 0.791838523
0.81325447 0.906470406 0.491210321 0.947108556"""


def layers() -> list[np.ndarray]:
    """Three layers of two heads on four tokens, the first one first."""
    h, i, j = np.mgrid[:2, :4, :4].astype(float)
    found = []
    for layer in range(3):
        logits = 2 * np.sin(i + 1.7 * j + 2.3 * layer + 0.9 * h + 0.5 * i * j)
        weights = np.exp(logits)
        found.append(weights / weights.sum(-1, keepdims=True))
    return found


def residual(fusion: str = "mean") -> list[np.ndarray]:
    return [with_residual(fuse_heads(layer, fusion)) for layer in layers()]


def test_the_fused_layer_is_the_published_one() -> None:
    expected = [0.343084841, 0.571028072, 0.042847571, 0.043039515]
    np.testing.assert_allclose(fuse_heads(layers()[0])[0], expected, atol=1e-9)


@pytest.mark.parametrize(("fusion", "row"), ROLLOUT)
def test_rows_are_those_of_the_reference(fusion: str, row: int) -> None:
    found = rollout_rows(residual(fusion), np.eye(4)[row : row + 1])[0]
    expected = np.array(ROLLOUT[fusion, row].split(), float)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_product_without_the_residual_is_another_thing() -> None:
    found = rollout_rows([fuse_heads(layer) for layer in layers()], np.eye(4)[:1])[0]
    expected = [0.364981241, 0.107246391, 0.249833407, 0.27793896]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_flow_is_that_of_the_reference() -> None:
    expected = np.array(FLOW.split(), float).reshape(4, 4)
    found = np.stack([attention_flow(residual(), token) for token in range(4)])
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert (found < 1 + 1e-7).all() and (np.diag(found) >= 0.5).all()


def test_one_layer_is_its_own_rollout_and_flow() -> None:
    (layer, *_) = residual()
    np.testing.assert_array_equal(rollout_rows([layer], np.eye(4)), layer)
    np.testing.assert_allclose(attention_flow([layer], 2), layer[2], atol=1e-7)


def test_closed_forms() -> None:
    identity = with_residual(np.eye(5))
    np.testing.assert_array_equal(rollout_rows([identity] * 3, np.eye(5)), np.eye(5))
    uniform = with_residual(np.full((5, 5), 0.2))
    expected = np.eye(5) / 2**4 + (1 - 2**-4) / 5
    np.testing.assert_allclose(rollout_rows([uniform] * 4, np.eye(5)), expected, atol=1e-15)
    turn = np.roll(np.eye(5), 1, axis=1)
    expected = sum(comb(3, k) / 8 * np.linalg.matrix_power(turn, k) for k in range(4))
    np.testing.assert_allclose(rollout_rows([with_residual(turn)] * 3, np.eye(5)), expected)


def test_a_sparse_layer_is_rolled_out_like_a_dense_one() -> None:
    dense = residual()
    thin = [with_residual(sparse.csr_matrix(fuse_heads(layer))) for layer in layers()]
    np.testing.assert_allclose(rollout_rows(thin, np.eye(4)), rollout_rows(dense, np.eye(4)))


def test_merging_shares_a_token_among_its_children() -> None:
    merge = merge_matrix((2, 2), (3, 4)).toarray()
    assert merge.shape == (4, 12)
    np.testing.assert_allclose(merge.sum(1), 1)
    np.testing.assert_allclose(merge[0, [0, 1, 4, 5]], 0.25)
    np.testing.assert_allclose(merge[2, [8, 9]], 0.5)  # its other two would be padding


def test_too_many_tokens_and_an_unknown_fusion_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"257 tokens takes too long .* take rollout"):
        attention_flow([np.eye(257)], 0)
    with pytest.raises(ConfigError, match="expected one of mean, max, min"):
        fuse_heads(layers()[0], "median")
