"""Settings that know where they were written: dicts, lists and tuples for the tracer.

They behave as mmengine's own while a config runs, and keep for every key of a dict the list of all
that set it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

DELETE = "_delete_"


@dataclass(frozen=True)
class Site:
    """A place in a config.

    Attributes:
        file: File, or None for the command line and what reading itself adds.
        line: Line, from 1 on; 0 where it is not known.
        reads: Variables that the value is made of, with their places at that time.
        note: What set the value where that is no file, such as an option.
    """

    file: Path | None
    line: int
    reads: tuple[Read, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Read:
    """A variable that a value was made of.

    Attributes:
        name: Name as it is written: ``lr``, ``_base_.lr``.
        site: Where the variable was set; None for what is no variable of a config.
    """

    name: str
    site: Site | None


@dataclass(frozen=True)
class Setting:
    """One setting of a key.

    Attributes:
        site: Where.
        value: Value, as it was when the next one came; for a merge all that was merged.
        how: ``sets``, ``merges``, ``deletes`` (``_delete_=True``) or ``removes``.
    """

    site: Site
    value: Any
    how: str = "sets"


@dataclass
class Reading:
    """A config that is being run: its file and the variables that each line stores from."""

    file: Path
    stores: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    namespace: Any = None


#: The configs that are being run, the innermost last.
READING: list[Reading] = []


def here() -> Site:
    """Return the line of the config that is running now."""
    if not READING:
        return Site(None, 0)
    reading = READING[-1]
    name, frame = str(reading.file), sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != name:
        frame = frame.f_back
    line = frame.f_lineno if frame is not None else 0
    return Site(reading.file, line, reads_of(reading.stores.get(line, ()), reading.namespace))


def reads_of(names: Iterable[str], namespace: Any) -> tuple[Read, ...]:
    """Return variables with the places that set them."""
    return tuple(Read(name, _site_of(name, namespace)) for name in names)


def _site_of(name: str, namespace: Any) -> Site | None:
    value, site = namespace, None
    for key in name.split("."):
        if not isinstance(value, TracedDict) or key not in value:
            return site
        if key != "_base_":
            site = value.last(key).site
        value = dict.__getitem__(value, key)
    return site


class TracedDict(dict):
    """A dict that keeps what set each of its keys."""

    __slots__ = ("_history", "_merging", "_site")

    def __init__(self, site: Site | None = None, *, merging: bool = False) -> None:
        super().__init__()
        self._history: dict[Any, list[Setting]] = {}
        self._site = site
        #: Whether ``update`` goes into inner dicts, as that of mmengine's own dicts does.
        self._merging = merging

    def record(self, key: Any, value: Any, settings: list[Setting]) -> None:
        """Set a key to a value together with all that set it."""
        dict.__setitem__(self, key, value)
        self._history[key] = settings

    def last(self, key: Any) -> Setting:
        """Return what set a key last."""
        history = self._history.get(key)
        return history[-1] if history else Setting(self._site or Site(None, 0), self.get(key))

    def history(self, key: Any) -> list[Setting]:
        """Return all that set a key, in order."""
        return self._history.get(key, [])

    def recorded(self) -> list[Any]:
        """Return the keys that were ever set, also those that are gone."""
        return list(self._history)

    def __setitem__(self, key: Any, value: Any) -> None:
        site = here()
        self.set_at(key, value, site)

    def set_at(self, key: Any, value: Any, site: Site) -> None:
        """Set a key from a known place."""
        value = adopt(value, site)
        self.record(key, value, [*self.history(key), Setting(site, value)])

    def remove_at(self, key: Any, site: Site) -> None:
        """Take a key out, from a known place."""
        dict.pop(self, key, None)
        self._history[key] = [*self.history(key), Setting(site, None, "removes")]

    def __delitem__(self, key: Any) -> None:
        if key not in self:
            raise KeyError(key)
        self.remove_at(key, here())

    def pop(self, key: Any, *default: Any) -> Any:
        if key not in self:
            return dict.pop(self, key, *default)
        value = self[key]
        self.remove_at(key, here())
        return value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *others: Any, **named: Any) -> None:
        for other in (*others, named):
            for key, value in dict(other).items():
                inner = self.get(key)
                if self._merging and isinstance(inner, TracedDict) and isinstance(value, dict):
                    inner.update(value)
                    self._history[key].append(Setting(here(), inner, "merges"))
                elif isinstance(other, TracedDict) and other.history(key):
                    self.record(key, value, [*self.history(key), other.last(key)])
                else:
                    self[key] = value

    def merge(self, other: dict) -> None:
        """Merge as mmengine's dicts of that method do: into inner dicts, with ``_delete_``."""
        other = adopt(deepcopy(other), here())
        if other.pop(DELETE, False):
            for key in list(self):
                self.remove_at(key, here())
        for key, value in other.items():
            inner = self.get(key)
            if isinstance(value, TracedDict) and isinstance(inner, TracedDict):
                inner.merge(value)
                self._history[key].append(Setting(here(), inner, "merges"))
            else:
                if isinstance(value, TracedDict):
                    dict.pop(value, DELETE, None)
                self.record(key, value, [*self.history(key), other.last(key)])

    def __or__(self, other: Any) -> TracedDict:
        joined = self.copy()
        TracedDict.update(joined, other)
        return joined

    def __ior__(self, other: Any) -> TracedDict:
        self.update(other)
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"'ConfigDict' object has no attribute '{name}'") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in TracedDict.__slots__:
            object.__setattr__(self, name, value)
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    def copy(self) -> TracedDict:
        other = self.emptied()
        for key, value in self.items():
            other.record(key, value, list(self.history(key)))
        return other

    def emptied(self) -> TracedDict:
        """Return a dict without the values of this one, which knows what was taken out."""
        other = TracedDict(self._site, merging=self._merging)
        other._history.update({k: list(v) for k, v in self._history.items() if k not in self})
        return other

    __copy__ = copy

    def __deepcopy__(self, memo: dict) -> TracedDict:
        other = self.emptied()
        for key, value in self.items():
            other.record(key, deepcopy(value, memo), list(self.history(key)))
        return other


class TracedList(list):
    """A list that knows where it was written."""

    site: Site | None = None

    def __deepcopy__(self, memo: dict) -> TracedList:
        return traced_sequence(TracedList, (deepcopy(one, memo) for one in self), self.site)


class TracedTuple(tuple):
    """A tuple that knows where it was written."""

    site: Site | None = None

    def __deepcopy__(self, memo: dict) -> TracedTuple:
        return traced_sequence(TracedTuple, (deepcopy(one, memo) for one in self), self.site)


def traced_sequence(cls: type, items: Iterable[Any], site: Site | None) -> Any:
    """Return a list or tuple with its place."""
    made = cls(items)
    made.site = site
    return made


def adopt(value: Any, site: Site) -> Any:
    """Return a value in which all dicts, lists and tuples know their place.

    Args:
        value: Value; plain parts of it are replaced.
        site: Place of the plain parts.
    """
    if isinstance(value, TracedDict):
        return value
    if isinstance(value, Mapping):
        traced = TracedDict(site)
        for key, inner in value.items():
            inner = adopt(inner, site)
            traced.record(key, inner, [Setting(site, inner)])
        return traced
    if isinstance(value, TracedList):
        value[:] = [adopt(one, value.site or site) for one in value]
        return value
    if isinstance(value, list):
        return traced_sequence(TracedList, (adopt(one, site) for one in value), site)
    if type(value) is tuple:
        return traced_sequence(TracedTuple, (adopt(one, site) for one in value), site)
    return value


def plain(value: Any) -> Any:
    """Return a value as plain dicts, lists and tuples; lazy objects become their names."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, tuple):
        return tuple(plain(one) for one in value)
    if type(value).__module__ == "mmengine.config.lazy":
        return f"{value.module}.{value}"
    return value


def merge_into(child: TracedDict, base: TracedDict) -> TracedDict:
    """Merge a config into the one that it inherits, by mmengine's rules.

    Raises:
        TypeError: A dict would be merged into something else.
    """
    merged = base.copy()
    for key, value in list(child.items()):
        old, new = base.history(key), child.history(key)
        new = [one for one in new if not any(one is other for other in old)]
        if isinstance(value, TracedDict) and value is not base.get(key):
            if key in base and not value.get(DELETE, False):
                dict.pop(value, DELETE, None)
                if not isinstance(base[key], TracedDict):
                    raise TypeError(f"{key} is a dict in the child config, but not in its base")
                value = merge_into(value, base[key])
                new = [replace(one, value=value, how="merges") for one in new[-1:]]
            elif key in base:
                dict.pop(value, DELETE, None)
                value._history.pop(DELETE, None)
                new = [replace(one, how="deletes") for one in new]
        merged.record(key, value, [*old, *new])
    return merged


def settings_only(namespace: TracedDict) -> Iterator[str]:
    """Yield the names of a config that ran which are settings."""
    for key, value in namespace.items():
        if not key.startswith("__") and not isinstance(value, (FunctionType, ModuleType)):
            yield key
