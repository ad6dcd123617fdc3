"""Run a network with factors on the heads of one attention layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from .product import heads_times
from .record import extractor_of


@contextmanager
def scaled_heads(module: nn.Module, factors: Tensor, call: int = 1) -> Iterator[None]:
    """Multiply the outputs of a layer's heads, before the output projection, in one of its calls.

    Args:
        module: Layer that has an extractor.
        factors: (heads,); 1 changes nothing but for rounding, 0 leaves a head out.
        call: Which call of the module, from 1.
    """
    extract = extractor_of(module)
    assert extract is not None
    numbers = count(1)

    def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
        if next(numbers) != call:
            return None
        with heads_times(factors):
            found = extract(module, args, kwargs, output)
        return None if found is None else found[1]

    handle = module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def without_head(heads: int, head: int) -> Tensor:
    """Return factors (heads,) that leave one head out."""
    factors = torch.ones(heads)
    factors[head] = 0
    return factors
