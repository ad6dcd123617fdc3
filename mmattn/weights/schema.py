"""Read one entry of an index file: every key is known, and every value of its type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mmattn.errors import ConfigError, did_you_mean

from .entries import Address, Entry, HubFile, Licence, Metric

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_HEX = re.compile(r"[0-9a-f]+")
_URL = re.compile(r"https?://\S+")


def parse_entry(raw: Any, where: str) -> Entry:
    """Build an entry from what YAML gave.

    Args:
        raw: The mapping.
        where: File and entry, for messages.

    Raises:
        ConfigError: A key is missing or unknown, or a value is not of its type; the message has
            ``where`` and the key.
    """
    read = _Reader(raw, where)
    entry = Entry(
        name=read.text("name", _NAME),
        system=read.text("system"),
        task=read.text("task"),
        dataset=read.text("dataset"),
        file=read.text("file", _NAME),
        sources=tuple(
            _source(one, f"{where}, sources[{i}]") for i, one in enumerate(read.items("sources"))
        ),
        page=read.optional("page", lambda key: read.text(key, _URL)),
        size=read.optional("size", read.count),
        sha256=read.optional("sha256", lambda key: read.digits(key, 64, 64)),
        sha256_prefix=read.optional("sha256_prefix", lambda key: read.digits(key, 8, 63)),
        layout=read.text("layout"),
        converter=read.optional("converter", read.text),
        config=read.optional("config", read.text),
        licence=_licence(read.value("licence"), f"{where}, licence"),
        metric=read.optional("metric", lambda key: _metric(read.value(key), f"{where}, {key}")),
        index=where.rpartition(":")[0],
    )
    read.finish()
    if not entry.sources and entry.page is None:
        raise ConfigError(f"{where}: has no sources; give the page of the weights (page)")
    return entry


def _source(raw: Any, where: str) -> HubFile | Address:
    read = _Reader(raw, where)
    if "hf" not in read.raw:
        source: HubFile | Address = Address(read.text("url", _URL))
    else:
        source = HubFile(
            read.text("hf", _REPO),
            read.optional("revision", lambda key: read.digits(key, 40, 40)),
            read.text("file"),
        )
    read.finish()
    return source


def _licence(raw: Any, where: str) -> Licence:
    read = _Reader(raw, where)
    licence = Licence(
        spdx=read.optional("spdx", read.text),
        text=read.optional("text", read.text),
        url=read.text("url", _URL),
        **{key: read.flag(key) for key in ("non_commercial", "gated", "unclear")},
    )
    read.finish()
    if (licence.spdx is None) == (licence.text is None):
        raise ConfigError(f"{where}: give spdx or text, one of the two")
    return licence


def _metric(raw: Any, where: str) -> Metric:
    read = _Reader(raw, where)
    metric = Metric(
        name=read.text("name"),
        paper=read.optional("paper", read.number),
        upstream=read.optional("upstream", read.number),
        measured_here=read.optional(
            "measured_here", lambda key: _measurement(read.value(key), f"{where}, {key}")
        ),
    )
    read.finish()
    return metric


def _measurement(raw: Any, where: str) -> Mapping[str, Any]:
    read = _Reader(raw, where)
    measured = {"value": read.number("value"), "commit": read.text("commit", _HEX)}
    measured["cmd"] = read.text("cmd")
    read.finish()
    return measured


class _Reader:
    """A mapping, each key of which is asked for once; what is left at the end is unknown."""

    def __init__(self, raw: Any, where: str) -> None:
        if not isinstance(raw, Mapping):
            raise ConfigError(f"{where}: is a {type(raw).__name__}, where a mapping is expected")
        self.raw, self.where = raw, where
        self._asked: dict[str, None] = {}

    def value(self, key: str) -> Any:
        self._asked[key] = None
        if key not in self.raw:
            raise ConfigError(f"{self.where}: has no {key}")
        return self.raw[key]

    def optional(self, key: str, read: Callable[[str], Any]) -> Any:
        """Return None for a key that is null or missing, else what ``read`` makes of it."""
        self._asked[key] = None
        return None if self.raw.get(key) is None else read(key)

    def items(self, key: str) -> list[Any]:
        return self._checked(key, isinstance(self.value(key), list), "a list")

    def text(self, key: str, form: re.Pattern[str] | None = None) -> str:
        value = self.value(key)
        right = isinstance(value, str) and (not form or form.fullmatch(value))
        what = "a text" if form is None else f"a text of the form {form.pattern}"
        return self._checked(key, right and value.strip() == value != "", what)

    def digits(self, key: str, least: int, most: int) -> str:
        value = self.value(key)
        right = isinstance(value, str) and _HEX.fullmatch(value) and least <= len(value) <= most
        count = least if least == most else f"{least} to {most}"
        return self._checked(key, right, f"a text (in quotes) of {count} hexadecimal digits")

    def count(self, key: str) -> int:
        value = self.value(key)
        right = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return self._checked(key, right, "a number of bytes")

    def number(self, key: str) -> float:
        value = self.value(key)
        return self._checked(
            key, isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
        )

    def flag(self, key: str) -> bool:
        self._asked[key] = None
        return key in self.raw and self._checked(key, isinstance(self.raw[key], bool), "a boolean")

    def finish(self) -> None:
        unknown = [str(key) for key in self.raw if key not in self._asked]
        if unknown:
            hint = did_you_mean(unknown[0], self._asked)
            raise ConfigError(f"{self.where}: unknown key {unknown[0]!r}.{hint}")

    def _checked(self, key: str, right: Any, what: str) -> Any:
        if not right:
            raise ConfigError(f"{self.where}: {key}={self.raw[key]!r} is not {what}")
        return self.raw[key]
