"""What modules were called with, kept by hooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass
class Call:
    """One call of a module.

    Attributes:
        name: Name of the module.
        module: The module.
        args: Its positional arguments, tensors without history.
        kwargs: Its keyword arguments, likewise.
        output: What it returned, likewise.
        number: Which call of the module it is, from 1; 0 where there was only one.
    """

    name: str
    module: Any
    args: tuple
    kwargs: dict[str, Any]
    output: Any
    number: int = 0


@contextmanager
def recorded_calls(modules: Mapping[str, nn.Module] | Iterable) -> Iterator[list[Call]]:
    """Keep every call of some modules, in order, while the network runs.

    Args:
        modules: Name -> module.
    """
    calls: list[Call] = []

    def keep(name: str):
        def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
            calls.append(
                Call(name, module, _plain(args), _plain(kwargs), _plain(output, copy=True))
            )

        return hook

    handles = [
        module.register_forward_hook(keep(name), with_kwargs=True)
        for name, module in dict(modules).items()
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
        names = [call.name for call in calls]
        for call, number in zip(calls, call_numbers(names), strict=True):
            call.number = number


def call_numbers(names: Sequence[str]) -> list[int]:
    """Return which call of its module each one is, 0 for those of modules called once.

    >>> call_numbers(["a", "b", "a"])
    [1, 0, 2]
    """
    total, seen = Counter(names), Counter[str]()
    numbers = []
    for name in names:
        seen[name] += 1
        numbers.append(seen[name] if total[name] > 1 else 0)
    return numbers


def _plain(value: Any, *, copy: bool = False) -> Any:
    """Tensors without history; those of an output are copied, since others may change them."""
    if isinstance(value, Tensor):
        return value.detach().clone() if copy else value.detach()
    if isinstance(value, Mapping):
        return {key: _plain(item, copy=copy) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_plain(item, copy=copy) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value
