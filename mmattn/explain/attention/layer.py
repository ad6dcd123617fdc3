"""The attention of one call of a layer: its weights, and where queries and keys lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mmattn.errors import ConfigError

from ..explanation import SamplingPoints

Grid = tuple[int, int]
#: Most weights of one layer: 1 GiB in float32.
MOST_WEIGHTS = 2**28


@dataclass
class Attention:
    """Weights of one call of a layer, for a batch of one.

    Attributes:
        raw: Probabilities behind softmax and mask, in front of dropout, as the layer computes
            them.
        arrange: Brings ``raw``, or its gradient, to (heads, Nq, S).
        kind: ``"self"`` or ``"cross"``.
        tokens: Number Nk of keys.
        keys: Key of every weight, (1 or heads, Nq, S, corners); -1 for none. None where S = Nk.
        shares: Share of the weight that each corner gets, of the shape of ``keys``; None for 1.
        query_grids: Rows and columns of the queries' maps; none for queries without a place.
        key_grids: Those of the keys' maps.
        places: Where points were read, (heads, Nq, S, 2), x and y as shares of the input.
        point_levels: (S,) level of every point.
        name: Name of the module.
        step: Which of several applications in one call, from 1; 0 for a single one.
        call: Which call of the module in one run of the network, from 1; 0, when the network has
            run, where there was only one.
        reduction: A key stands for a square of this many tokens a side of the queries' map.
        behind: Tokens behind those of the grids, one for each class; all others without a place
            are in front of them.
    """

    raw: Tensor
    arrange: Callable[[Tensor], Tensor]
    kind: str
    tokens: int
    keys: Tensor | None = None
    shares: Tensor | None = None
    query_grids: tuple[Grid, ...] = ()
    key_grids: tuple[Grid, ...] = ()
    places: Tensor | None = None
    point_levels: Tensor | None = None
    name: str = ""
    step: int = 0
    call: int = 1
    reduction: int = 1
    behind: int = 0

    @property
    def weights(self) -> Tensor:
        """The weights, (heads, Nq, S), float32 or float64, without history."""
        return self.arrange(self.raw.detach())

    @property
    def queries(self) -> int:
        """Number Nq of queries."""
        return self.weights.shape[1]

    def matrix(self, values: Tensor | None = None) -> Any:
        """Return the mean over the heads as a matrix (Nq, Nk) of float64, sparse where it is.

        Args:
            values: (heads, Nq, S) in place of the weights.
        """
        values = self.weights if values is None else values
        if self.keys is None:
            return values.double().mean(0).cpu().numpy()
        return sum(self._sparse(head, values) for head in range(len(values))) / len(values)

    def of_head(self, head: int) -> np.ndarray:
        """Return the weights of one head as a matrix (Nq, Nk) of float64."""
        if self.keys is None:
            return self.weights[head].double().cpu().numpy()
        return self._sparse(head, self.weights).toarray()

    def _sparse(self, head: int, values: Tensor) -> Any:
        assert self.keys is not None
        keys = self.keys[head if len(self.keys) > 1 else 0]  # (Nq, S, corners)
        data = values[head].double()[..., None].expand(keys.shape)
        if self.shares is not None:
            data = data * self.shares[head if len(self.shares) > 1 else 0]
        queries = torch.arange(keys.shape[0], device=keys.device)[:, None, None].expand(keys.shape)
        real = keys >= 0
        places = (queries[real].cpu().numpy(), keys[real].cpu().numpy())
        shape = (keys.shape[0], self.tokens)
        return sparse.csr_matrix((data[real].cpu().numpy(), places), shape=shape)

    def row(self, query: int, head: int | None = None) -> np.ndarray:
        """Return the weights of one query, (Nk,) float64: mean of the heads, or one of them."""
        weights = self.weights[:, query : query + 1]
        weights = weights if head is None else weights[head : head + 1]
        if self.keys is None:
            return weights.double().mean(0)[0].cpu().numpy()

        def part(values: Tensor | None) -> Tensor | None:
            if values is None:
                return None
            values = values[:, query : query + 1]
            return values if head is None or len(values) == 1 else values[head : head + 1]

        one = replace(self, keys=part(self.keys), shares=part(self.shares))
        return np.asarray(one.matrix(weights).todense())[0]

    def points_of(self, query: int) -> SamplingPoints | None:
        """Return the points that a query reads, None where the layer reads whole maps."""
        if self.places is None or self.point_levels is None:
            return None
        weights = self.weights[:, query] / len(self.weights)  # (heads, S)
        heads = torch.arange(len(weights))[:, None].expand(weights.shape)
        levels = self.point_levels[None].expand(weights.shape)
        return SamplingPoints(
            self.places[:, query].flatten(0, 1).double().cpu().numpy(),
            weights.flatten().double().cpu().numpy(),
            levels.flatten().cpu().numpy(),
            heads.flatten().cpu().numpy(),
            lost=1 - float(self.row(query).sum()),
        )

    def positive(self, gradient: Tensor | None) -> Any:
        """Return mean over heads of max(0, gradient times weights) as a matrix (Nq, Nk)."""
        if gradient is None:
            return self.matrix(torch.zeros_like(self.weights))
        return self.matrix((self.arrange(gradient) * self.weights).relu())


#: (module, args, kwargs, output) -> recorded attention, and the output that depends on it.
Extractor = Callable[[Any, tuple, dict[str, Any], Any], "tuple[list[Attention], Any] | None"]


def require_room(name: str, weights: int) -> None:
    """Refuse to write out more weights than memory is meant for.

    Raises:
        ConfigError: There are more than ``MOST_WEIGHTS``.
    """
    if weights > MOST_WEIGHTS:
        raise ConfigError(
            f"{name}: its attention has {weights:,} weights, more than {MOST_WEIGHTS:,}; give a "
            "smaller image"
        )
