"""Record the weights of attention layers while a network runs, in the graph of its outputs.

Fused attention keeps no weights. Behind each layer a hook computes the attention once more, step by
step and in float32 at least, checks that this reproduces what the layer returned, and hands the
result on in its place, so that y depends on the recorded weights. When the context is left, the
hooks are gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mmattn.errors import ConfigError

from .extractors import EXTRACTORS
from .layer import Attention, Extractor, Grid
from .layout import layouts_of, placed
from .names import qualified_names

#: Largest difference between a layer's output and the recomputed one, relative to the largest
#: value.
TOLERANCE = 1e-4


def extractor_of(module: nn.Module) -> Extractor | None:
    """Return the function that reads a module's attention, None where there is none."""
    return next((EXTRACTORS[name] for name in qualified_names(module) if name in EXTRACTORS), None)


@contextmanager
def recorded_attention(
    modules: Mapping[str, nn.Module],
    image: Grid,
    receive: Callable[[Attention], None] | None = None,
    *,
    model: nn.Module | None = None,
) -> Iterator[list[Attention]]:
    """Record the attention of all modules that have an extractor, in order of execution.

    Args:
        modules: Name -> module.
        image: Height and width of the network's input, by which the grid of tokens is told.
        receive: Gets each record at once, and nothing is kept; None keeps all in the list.
        model: Network around the modules, whose parts may know where tokens lie (``layout``).

    Raises:
        ConfigError: While the network runs: the recomputed attention is not the layer's, or it has
            too many weights.
    """
    records: list[Attention] = []
    counts: Counter[str] = Counter()
    around = nn.ModuleList(modules.values()) if model is None else model

    def hook_of(name: str, extract: Extractor):
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
            found = extract(module, args, kwargs, output)
            if found is None:
                return None
            attentions, again = found
            _check(name, output, again)
            counts[name] += 1
            for attention in attentions:
                attention.name, attention.call = name, counts[name]
                layout = layouts[-1] if layouts else None
                (receive or records.append)(placed(attention, layout, image))
            return again if torch.is_grad_enabled() else None

        return hook

    handles = []
    for name, module in modules.items():
        extract = extractor_of(module)
        if extract is not None:
            handles.append(module.register_forward_hook(hook_of(name, extract), with_kwargs=True))
    try:
        with layouts_of(around) as layouts:
            yield records
    finally:
        for handle in handles:
            handle.remove()
        for record in records:
            if counts[record.name] == 1:
                record.call = 0


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
