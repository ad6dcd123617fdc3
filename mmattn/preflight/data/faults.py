"""All faulty files of a dataset in one message: one for each run of the check would take hours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mmattn.errors import DataError

#: Largest number of files that a message names beside the first.
_SHOWN = 20


class FaultyFiles:
    """Collects what is wrong with single files, so that all of them are told at once.

    Args:
        where: Config key of the dataset, which messages begin with.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._texts: dict[str, None] = {}  # a set in order

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep a DataError of the body for ``refuse``."""
        try:
            yield
        except DataError as error:
            self._texts[str(error)] = None

    def refuse(self) -> None:
        """Raise with the first fault in full and what is wrong with the other files.

        Raises:
            DataError: There was a fault.
        """
        if not self._texts:
            return
        first, *others = self._texts
        if not others:
            raise DataError(first)
        lines = [self._short(text) for text in others[:_SHOWN]]
        if len(others) > _SHOWN:
            lines.append(f"and {len(others) - _SHOWN} more")
        noun = "file is" if len(others) == 1 else "files are"
        raise DataError("\n  ".join([f"{first}\n{len(others)} more {noun} faulty:", *lines]))

    def _short(self, text: str) -> str:
        """Return a fault without the key, and without the advice behind it."""
        return text.removeprefix(f"{self.where}: ").split(". ")[0]
