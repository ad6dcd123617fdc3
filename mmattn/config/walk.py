"""Walk through nested settings, look into them, and rewrite them; find datasets in wrappers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: The sections of a config that load data.
LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a value and everything inside it as (path, value), from the outside in.

    Args:
        value: Settings of any depth: mappings, lists, tuples and leaves.
        path: Path of ``value`` itself.

    Example:
        >>> [path for path, _ in walk({"a": [1, {"b": 2}]})]
        ['', 'a', 'a[0]', 'a[1]', 'a[1].b']
    """
    yield path, value
    for inner_path, inner in _children(value, path):
        yield from walk(inner, inner_path)


def at(settings: Mapping[str, Any], path: str) -> Any:
    """Return the value at dotted keys; None where there is none.

    Example:
        >>> at({"a": {"b": 1}}, "a.b"), at({"a": 2}, "a.b")
        (1, None)
    """
    first, *inner = path.split(".")
    value: Any = settings.get(first)  # a Config is no Mapping
    for key in inner:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def parts_of(section: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the dicts of a section that is one dict or a list of them, each with its path.

    Example:
        >>> [path for path, _ in parts_of([{}, {}], "param_scheduler")]
        ['param_scheduler[0]', 'param_scheduler[1]']
    """
    if isinstance(section, Mapping):
        yield path, section
    elif isinstance(section, (list, tuple)):
        for index, part in enumerate(section):
            if isinstance(part, Mapping):
                yield f"{path}[{index}]", part


def rewrite(value: Any, change: Callable[[str, Any], Any], path: str = "") -> Any:
    """Return a copy of a value in which ``change`` has replaced everything, from the inside out.

    Args:
        value: Settings of any depth.
        change: Function of path and value that returns what takes the value's place. Mappings and
            lists come with their contents already replaced.
        path: Path of ``value`` itself.

    Example:
        >>> rewrite({"a": [1, 2]}, lambda _, value: value + 1 if isinstance(value, int) else value)
        {'a': [2, 3]}
    """
    if isinstance(value, Mapping):
        value = {key: rewrite(inner, change, _join(path, key)) for key, inner in value.items()}
    elif isinstance(value, (list, tuple)):
        value = type(value)(
            rewrite(inner, change, f"{path}[{index}]") for index, inner in enumerate(value)
        )
    return change(path, value)


def leaf_datasets(dataset: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the datasets inside wrappers (repeat, concatenate, mix), each with its path."""
    if dataset.get("datasets"):
        for index, inner in enumerate(dataset["datasets"]):
            yield from leaf_datasets(inner, f"{path}.datasets[{index}]")
    elif isinstance(dataset.get("dataset"), Mapping):
        yield from leaf_datasets(dataset["dataset"], f"{path}.dataset")
    else:
        yield path, dataset


def innermost_dataset(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first of the datasets inside wrappers."""
    return next(leaf_datasets(dataset, ""))[1]


def _children(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((_join(path, key), inner) for key, inner in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"{path}[{index}]", inner) for index, inner in enumerate(value))


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
