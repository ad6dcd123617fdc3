"""What an upgrade could not translate, and what it left out, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..places import shown_value


class Notes:
    """Collects sentences while a config is upgraded.

    Attributes:
        left: Settings that were not translated: somebody has to look at them.
        done: Settings that are gone since nothing has to be said any more.
    """

    def __init__(self) -> None:
        self.left: list[str] = []
        self.done: list[str] = []

    def untranslated(self, key: str, value: Any, why: str) -> None:
        """Note a setting that was not translated."""
        self.left.append(f"{key}={shown_value(value, 70)}: {why}")

    def dropped(self, key: str, value: Any, why: str) -> None:
        """Note a setting that needs no counterpart."""
        self.done.append(f"{key}={shown_value(value, 70)}: {why}")

    def rest(self, where: str, block: Mapping[str, Any], known: Iterable[str] = ()) -> None:
        """Note all keys of a block that were not read."""
        known = set(known)
        for key, value in block.items():
            if key not in known:
                self.untranslated(f"{where}.{key}", value, "there is no rule for this setting")
