"""The weights of a pickled network, found in its inert tree; none of its classes is needed.

A pickle of an ``nn.Module`` holds the module's attributes. Those that torch gives every module say
all about its weights: ``_parameters``, ``_buffers``, and ``_modules`` for the modules inside.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from .inert_pickle import DamagedPickleError, Record

#: Modules that a network may have. A file could let one stand for exponentially many.
MAX_MODULES = 100_000
_PARTS = ("_parameters", "_buffers", "_modules")


class ModuleWeights(OrderedDict[str, Any]):
    """State dict of a network that was pickled as a whole.

    Attributes:
        class_name: Full name of the network's class in the file.
        attributes: What else the network itself holds, where that is data; the settings of the
            modules inside it are not kept.
    """

    def __init__(self, class_name: str = "", attributes: dict[str, Any] | None = None):
        super().__init__()
        self.class_name = class_name
        self.attributes = attributes or {}


def is_module(node: Any) -> bool:
    """Return whether a record is a module of torch, of whatever class."""
    return (
        isinstance(node, Record)
        and node.args is not None
        and all(isinstance(_attributes(node).get(part), Record) for part in _PARTS)
    )


def named_tensors(module: Record) -> Iterator[tuple[str, Record]]:
    """Yield name and record of what ``state_dict()`` of a module would have, in its order.

    Raises:
        DamagedPickleError: There are too many modules, one is inside itself, or something else is
            in a module's place.
    """
    # Names, records, and the records that each is inside of.
    waiting: list[tuple[str, Record, frozenset[int]]] = [("", module, frozenset())]
    count = 0
    while waiting:
        prefix, node, outer = waiting.pop()
        count += 1
        if count > MAX_MODULES:
            raise DamagedPickleError(f"a network has more than {MAX_MODULES} modules")
        if id(node) in outer:
            raise DamagedPickleError(f"the module {prefix[:-1]!r} is inside itself")
        if not is_module(node):
            raise DamagedPickleError(f"{prefix[:-1]!r} is in a module's place and none")
        attributes = _attributes(node)
        passing = _names(attributes.get("_non_persistent_buffers_set"))
        for name, value in (*_pairs(attributes["_parameters"]), *_pairs(attributes["_buffers"])):
            if value is not None and name not in passing:
                yield prefix + name, value
        inner = [
            (f"{prefix}{name}.", value, outer | {id(node)})
            for name, value in _pairs(attributes["_modules"])
            if value is not None
        ]
        waiting += reversed(inner)


def own_attributes(module: Record) -> dict[str, Any]:
    """Return the records of a module's attributes besides weights, inner modules and hooks."""
    return {
        name: value
        for name, value in _attributes(module).items()
        if not name.startswith("_") and not is_module(value)
    }


def _attributes(node: Record) -> dict[str, Any]:
    return dict(_pairs(node.state))


def _pairs(node: Any) -> list[tuple[str, Any]]:
    pairs = node.pairs if isinstance(node, Record) else []
    return [(key, value) for key, value in pairs if type(key) is str]


def _names(node: Any) -> set[str]:
    """Return the texts in a set."""
    if not isinstance(node, Record):
        return set()
    given = node.args[0] if node.args and isinstance(node.args[0], list) else []
    return {item for item in (*given, *node.items) if type(item) is str}
