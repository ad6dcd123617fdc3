"""Relevance through self- and cross-attention (Chefer et al., ICCV 2021, arXiv:2103.15679).

With Ahat = mean over heads of max(0, dy/dA * A), R = I at first between tokens of one set and 0
between queries q and image tokens i, layer by layer in order of execution:

    self-attention of s:   R_ss <- R_ss + Ahat R_ss;   R_qi <- R_qi + Ahat R_qi  (where s = q)
    cross-attention:       R_qi <- R_qi + N(R_qq)^T Ahat N(R_ii)
    N(R) = I + (R - I) / row sums of (R - I)

A row of R - I that is zero stays zero. (The authors' code turns 0 / 0 into 0 for the whole of N,
which erases the first layer of networks that begin with cross-attention.)

R_ii is never written out. With rho = R_ii 1, D = diag(rho - 1) and X = N(R_qq)^T Ahat,

    X N(R_ii) = X + Z - Y,   Y = X D^+,   Z = Y (I + Ahat_L) ... (I + Ahat_1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from .rollout import Join


@dataclass(frozen=True)
class DecoderStep:
    """One attention layer of a decoder.

    Attributes:
        kind: ``"self"`` among queries or ``"cross"`` to image tokens.
        ahat: (Q, Q), or (Q, N) over all image tokens.
    """

    kind: str
    ahat: Any


def relevance_rows(layers: Sequence[Any], rows: np.ndarray) -> np.ndarray:
    """Return rows of R_L = (I + Ahat_L) ... (I + Ahat_1), from the last layer down.

    Args:
        layers: Ahat of every layer of self-attention, the first one first; a ``Join`` between
            layers of different tokens is multiplied without I.
        rows: (rows, N) weights of the output tokens.
    """
    for layer in reversed(layers):
        product = np.asarray(rows @ layer)
        rows = product if isinstance(layer, Join) else rows + product
    return np.asarray(rows)


def decoder_relevance(
    encoder: Sequence[Any],
    decoder: Sequence[DecoderStep],
    queries: int,
    tokens: int,
    *,
    normalize: bool = True,
    cross_only: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return R_qi and R_qq of an encoder-decoder.

    Args:
        encoder: Ahat (N, N) of the layers of the encoder, the first one first, also ``Reduced``;
            may be none.
        decoder: Layers of the decoder in order of execution.
        queries: Number Q of queries.
        tokens: Number N of image tokens.
        normalize: False leaves N away, the paper's ablation.
        cross_only: Take Ahat alone in cross-attention, the paper's ablation.

    Returns:
        (Q, N) and (Q, Q)
    """
    of_queries, across = np.eye(queries), np.zeros((queries, tokens))
    deviation = _sums(encoder, tokens) - 1
    inverse = np.divide(1.0, deviation, out=np.zeros(tokens), where=deviation > 0)
    for step in decoder:
        ahat = step.ahat
        if step.kind == "self":
            across = across + np.asarray(ahat @ across)
            of_queries = of_queries + np.asarray(ahat @ of_queries)
            continue
        dense = ahat.toarray() if sparse.issparse(ahat) else np.asarray(ahat)
        if cross_only:
            across = across + dense
        elif not normalize:
            across = across + relevance_rows(encoder, of_queries.T @ dense)
        else:
            x = normalized(of_queries).T @ dense
            y = x * inverse
            across = across + x + relevance_rows(encoder, y) - y
    return across, of_queries


def normalized(relevance: np.ndarray) -> np.ndarray:
    """Return N(R) = I + (R - I) / row sums; rows of R - I that are zero stay zero."""
    extra = relevance - np.eye(len(relevance))
    sums = extra.sum(1, keepdims=True)
    return np.eye(len(relevance)) + np.divide(extra, sums, out=np.zeros_like(extra), where=sums > 0)


def _sums(encoder: Sequence[Any], tokens: int) -> np.ndarray:
    """Return R_ii 1 without R_ii."""
    rho = np.ones(tokens)
    for layer in encoder:
        rho = rho + np.asarray(layer @ rho).ravel()
    return rho
