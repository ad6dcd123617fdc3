"""Reduce what a checkpoint holds to what the weights-only reader knows."""

from __future__ import annotations

import numbers
import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

_DROPPED = object()
#: Types to which instances of subclasses are reduced.
_BASES: tuple[type[Any], ...] = (str, bytes, int, float)
_AS_IS = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)


def to_weights_only(value: Any, on_foreign: Callable[[str, Any], None], path: str = "") -> Any:
    """Copy nested containers with nothing in them but tensors, numbers, strings and containers.

    numpy's numbers become Python's, numpy's arrays tensors, subclasses of ``dict``, ``list``,
    ``tuple``, ``str``, ``int`` and ``float`` these types, paths strings. Tensors are not copied.
    A state dict's ``_metadata`` (module versions) is kept.

    Args:
        value: Object to reduce.
        on_foreign: Function called with the place and the object for everything else; if it
            returns, the object is left out.
        path: Place of ``value``, for ``on_foreign``: ``"meta.dataset_meta"``.
    """
    plain = _plain(value, on_foreign, path)
    return None if plain is _DROPPED else plain


def _plain(value: Any, on_foreign: Callable[[str, Any], None], path: str) -> Any:
    if type(value) in _AS_IS:
        return value
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        # Copied, because torch cannot wrap negative strides or foreign byte orders.
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), on_foreign, path)
    if isinstance(value, np.generic):
        return _plain(value.item(), on_foreign, path)
    if isinstance(value, Mapping):
        return _plain_mapping(value, on_foreign, path)
    if isinstance(value, list | tuple | set | frozenset):
        items = [_plain(item, on_foreign, f"{path}[{i}]") for i, item in enumerate(value)]
        container = next(c for c in (list, tuple, set, frozenset) if isinstance(value, c))
        return (set if container is frozenset else container)(
            item for item in items if item is not _DROPPED
        )
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    for base in _BASES:
        if isinstance(value, base):
            return base(value)
    if isinstance(value, numbers.Real):
        return float(value)
    on_foreign(path, value)
    return _DROPPED


def _plain_mapping(value: Mapping, on_foreign: Callable[[str, Any], None], path: str) -> dict:
    result: dict = {}
    for mapping in (OrderedDict, Counter):  # both mean something to who reads them back
        if isinstance(value, mapping):
            result = mapping()
    for key, item in value.items():
        place = f"{path}.{key}" if path else str(key)
        plain_key = _plain(key, on_foreign, f"{place} (key)")
        plain_item = _plain(item, on_foreign, place)
        if plain_key is not _DROPPED and plain_item is not _DROPPED:
            result[plain_key] = plain_item
    metadata = getattr(value, "_metadata", None)
    if isinstance(result, OrderedDict) and isinstance(metadata, Mapping):
        vars(result)["_metadata"] = _plain(metadata, on_foreign, f"{path}._metadata")
    return result
