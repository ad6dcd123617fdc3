"""Attention to a smaller map: keys that are made of squares of tokens (SegFormer, Twins, PVT).

A key is taken for the mean of its square, as the strided convolution that makes it has one weight
for each of its tokens. A (Nq, Nk) times this matrix (Nk, N) is attention to the tokens; it is never
written out, since N x N is large where keys are made smaller at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from .layer import Attention


def square_shares(record: Attention) -> Any:
    """Return how keys are made of tokens of the queries' map: (Nk, N), rows with sum 1.

    Tokens beyond the last whole square are in no key, as in a convolution without padding.
    """
    (height, width), (rows, columns) = record.query_grids[0], record.key_grids[0]
    side = record.reduction
    row = np.arange(rows * side)[:, None]
    column = np.arange(columns * side)[None, :]
    key = (row // side * columns + column // side).ravel()
    token = (row * width + column).ravel()
    shares = np.full(len(key), 1 / side**2)
    return sparse.csr_matrix((shares, (key, token)), shape=(rows * columns, height * width))


def over_tokens(record: Attention, matrix: Any) -> Any:
    """Return weights (Nq, Nk), or their relevance, as a matrix over the tokens of the queries."""
    if record.reduction == 1:
        return matrix
    return Reduced(np.asarray(matrix), square_shares(record))


class Reduced:
    """weights (N, Nk) times shares (Nk, N), plus a diagonal (N,), not multiplied out."""

    __array_ufunc__ = None  # numpy leaves ``rows @ self`` to us

    def __init__(self, weights: np.ndarray, shares: Any, diagonal: np.ndarray | float = 0.0):
        self.weights, self.shares = weights, shares
        self.diagonal = np.broadcast_to(np.asarray(diagonal, np.float64), len(weights))
        self.shape = (len(weights), shares.shape[1])

    def __rmatmul__(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray((rows @ self.weights) @ self.shares) + rows * self.diagonal

    def __matmul__(self, values: np.ndarray) -> np.ndarray:
        """Apply it to (N,)."""
        return self.weights @ np.asarray(self.shares @ values) + self.diagonal * values

    def with_residual(self) -> Reduced:
        """Return 1/2 A + 1/2 I with rows that sum to 1."""
        sums = self @ np.ones(self.shape[1]) + 1
        return Reduced(self.weights / sums[:, None], self.shares, (self.diagonal + 1) / sums)

    def toarray(self) -> np.ndarray:
        """Return it written out."""
        return self.weights @ self.shares.toarray() + np.diag(self.diagonal)
