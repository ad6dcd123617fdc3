"""Attention rollout and attention flow (Abnar and Zuidema, ACL 2020, arXiv:2005.00928).

    Abar_l = 1/2 F(A_l) + 1/2 I, rows divided by their sum;   R_l = Abar_l R_{l-1},  R_0 = I

with F the mean over heads, or their maximum or minimum. Row i of R_L says how much of each input is
in output token i. A row costs one product of a vector with each matrix, from the last layer down,
so that R is never written out. Flow is the largest flow through the same graph of layers; each pair
of tokens is one of its own, so that rows do not sum to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from mmattn.errors import ConfigError

from .attention.reduced import Reduced

#: How heads are made one.
FUSIONS = ("mean", "max", "min")
#: Most tokens of attention flow, whose time grows with the cube.
MOST_FLOW_TOKENS = 256
_CAPACITY = 2**26


def fuse_heads(weights: np.ndarray, fusion: str = "mean") -> np.ndarray:
    """Make (heads, Nq, Nk) one matrix.

    Raises:
        ConfigError: There is no such fusion.
    """
    if fusion not in FUSIONS:
        raise ConfigError(f"fusion={fusion!r}: expected one of {', '.join(FUSIONS)}")
    return getattr(weights, fusion)(0)


def with_residual(fused: Any) -> Any:
    """Return 1/2 F + 1/2 I with rows that sum to 1, dense, sparse or reduced as ``fused`` is."""
    if isinstance(fused, Reduced):
        return fused.with_residual()
    if sparse.issparse(fused):
        half = 0.5 * fused + 0.5 * sparse.identity(fused.shape[0], format="csr")
        sums = np.asarray(half.sum(1)).ravel()
        return sparse.diags(1 / sums) @ half
    half = 0.5 * fused + 0.5 * np.eye(len(fused))
    return half / half.sum(1, keepdims=True)


def rollout_rows(layers: Sequence[Any], rows: np.ndarray) -> np.ndarray:
    """Return rows of R_L, or weighted sums of them.

    Args:
        layers: Abar of every layer, the first one first, as ``with_residual`` makes them; a
            ``Join`` between layers of different tokens is multiplied alike.
        rows: (rows, N) weights of the output tokens; one-hot for the row of one token.

    Returns:
        (rows, N of the first layer)
    """
    for layer in reversed(layers):
        rows = rows @ layer
    return np.asarray(rows)


class Join(sparse.csr_matrix):
    """How tokens of a layer are made of those of the layer before; it has no residual."""


def merge_matrix(later: tuple[int, int], earlier: tuple[int, int]) -> Join:
    """Return how tokens of a grid are made of those of the grid before: equal shares.

    Cells of the earlier grid that lie over its edge, which padding adds, do not count. A later grid
    that is finer, behind an upsampling, copies the cell that it lies in.
    """
    axes = [_merged(a, b) for a, b in zip(later, earlier, strict=True)]
    return Join(sparse.kron(axes[0], axes[1], format="csr"))


def _merged(later: int, earlier: int) -> sparse.csr_matrix:
    """Return ``merge_matrix`` along one axis."""
    if later > earlier:
        child = np.arange(later)
        parent, shares = child, np.ones(later)
        child = child * earlier // later
    else:
        child = np.arange(earlier)
        parent = child // -(-earlier // later)
        shares = 1 / np.bincount(parent, minlength=later)[parent]
    return sparse.csr_matrix((shares, (parent, child)), shape=(later, earlier))


def attention_flow(layers: Sequence[np.ndarray], token: int) -> np.ndarray:
    """Return the largest flow from one output token to each input token: (N,).

    Nodes are (layer, token); an edge from (l, i) to (l - 1, j) has the capacity Abar_l[i, j],
    rounded to 2^-26.

    Args:
        layers: Abar of every layer, (N, N), the first one first.
        token: The output token.

    Raises:
        ConfigError: There are more than ``MOST_FLOW_TOKENS`` tokens.
    """
    from scipy.sparse.csgraph import maximum_flow

    count = len(layers[0])
    if count > MOST_FLOW_TOKENS:
        raise ConfigError(
            f"attention flow of {count} tokens takes too long (at most {MOST_FLOW_TOKENS}); take "
            "rollout, or a smaller image"
        )
    blocks: list[list[Any]] = [[None] * (len(layers) + 1) for _ in range(len(layers) + 1)]
    for corner in (0, -1):  # edges go down alone; these give the graph its size
        blocks[corner][corner] = sparse.csr_matrix((count, count), dtype=np.int32)
    for index, layer in enumerate(layers):
        capacity = sparse.csr_matrix(np.rint(_CAPACITY * layer).astype(np.int32))
        blocks[index + 1][index] = capacity
    graph = sparse.csr_matrix(sparse.bmat(blocks, format="csr"), dtype=np.int32)
    source = len(layers) * count + token
    flows = [maximum_flow(graph, source, sink).flow_value for sink in range(count)]
    return np.array(flows) / _CAPACITY
