"""Record the weights of attention layers while a network runs, in the graph of its outputs.

Fused attention keeps no weights. Behind each layer a hook computes the attention once more, step by
step and in float32 at least, checks that this reproduces what the layer returned, and hands the
result on in its place, so that y depends on the recorded weights. When the context is left, the
hooks are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mmattn.errors import ConfigError

from ..layers import token_grid
from .extractors import EXTRACTORS
from .layer import Attention, Extractor, Grid

#: Largest difference between a layer's output and the recomputed one, relative to the largest
#: value.
TOLERANCE = 1e-4


def qualified_names(module: nn.Module) -> list[str]:
    """Return the names of a module's class and of its bases, such as ``torch.nn...Linear``."""
    return [f"{base.__module__}.{base.__qualname__}" for base in type(module).__mro__]


def extractor_of(module: nn.Module) -> Extractor | None:
    """Return the function that reads a module's attention, None where there is none."""
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
