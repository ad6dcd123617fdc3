"""Record the weights of attention layers while a network runs, in the graph of its outputs.

Fused attention keeps no weights. Behind each layer a hook computes the attention once more, step by
step and in float32 at least, checks that this reproduces what the layer returned, and hands the
result on in its place, so that y depends on the recorded weights. When the context is left, the
hooks are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from mmattn.errors import ConfigError

from ..explanation import SamplingPoints
from ..layers import token_grid

Grid = tuple[int, int]
#: Largest difference between a layer's output and the recomputed one, relative to the largest
#: value.
TOLERANCE = 1e-4
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


def qualified_names(module: nn.Module) -> list[str]:
    """Return the names of a module's class and of its bases, such as ``torch.nn...Linear``."""
    return [f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__]


def extractor_of(module: nn.Module) -> Extractor | None:
    """Return the function that reads a module's attention, None where there is none."""
    from .extractors import EXTRACTORS

    return next((EXTRACTORS[name] for name in qualified_names(module) if name in EXTRACTORS), None)


@contextmanager
def recorded_attention(
    modules: Mapping[str, nn.Module],
    image: Grid,
    receive: Callable[[Attention], None] | None = None,
) -> Iterator[list[Attention]]:
    """Record the attention of all modules that have an extractor, in order of execution.

    Args:
        modules: Name -> module.
        image: Height and width of the network's input, by which the grid of tokens is told.
        receive: Gets each record at once, and nothing is kept; None keeps all in the list.

    Raises:
        ConfigError: While the network runs: the recomputed attention is not the layer's, or it has
            too many weights.
    """
    records: list[Attention] = []

    def hook_of(name: str, extract: Extractor):
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
            found = extract(module, args, kwargs, output)
            if found is None:
                return None
            attentions, again = found
            _check(name, output, again)
            for attention in attentions:
                attention.name = name
                (receive or records.append)(_with_grids(attention, image))
            return again if torch.is_grad_enabled() else None

        return hook

    handles = []
    for name, module in modules.items():
        extract = extractor_of(module)
        if extract is not None:
            handles.append(module.register_forward_hook(hook_of(name, extract), with_kwargs=True))
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()


def _check(name: str, output: Any, again: Any) -> None:
    """Refuse a recomputed output that is not the layer's own."""
    first, second = (x[0] if isinstance(x, tuple) else x for x in (output, again))
    error = float((first.detach() - second.detach()).abs().max()) if first.numel() else 0.0
    bound = TOLERANCE * max(1.0, float(first.detach().abs().max()) if first.numel() else 0.0)
    if not error <= bound:
        raise ConfigError(
            f"{name}: its attention, computed again, gives another output (by {error:.2g}); it "
            f"is not the {type(first).__name__} of the formula that mmattn knows"
        )


def _with_grids(attention: Attention, image: Grid) -> Attention:
    """Fill in the grids of tokens that the layer does not know itself."""
    changes: dict[str, Any] = {}
    for field, count in (("query_grids", attention.queries), ("key_grids", attention.tokens)):
        if not getattr(attention, field) and (field == "key_grids" or attention.kind == "self"):
            grid = token_grid(count, image)
            changes[field] = () if grid is None else (grid,)
    return replace(attention, **changes)


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
