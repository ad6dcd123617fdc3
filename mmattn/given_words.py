"""The words in which a user gave settings, so that messages about them are in the same words.

``data=DIR`` is ``data_root`` of every dataset long before that folder is opened, and an argument of
a dataset is ``KEY`` in a config, ``data.KEY`` on a command line. Who finds a mistake does not know
what was typed; this module does. There is one command line a process, so this is its state.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

#: Words whose value is the path of data.
PATHS = ("data", "data_root", "--data-root")
_given: dict[str, str] = {}  # path -> word
_commands = 0


@contextmanager
def command_line() -> Iterator[None]:
    """Phrase settings for a command line while the body runs, else for a config."""
    global _commands
    _commands += 1
    try:
        yield
    finally:
        _commands -= 1
        if not _commands:
            _given.clear()


def remember(options: Mapping[str, Any]) -> None:
    """Remember the words of ``PATHS`` among ``options``, instead of those that were given before.

    Args:
        options: Word -> what was given with it.
    """
    _given.clear()
    _given.update({os.path.normpath(str(options[w])): w for w in PATHS if w in options})


def word_of(key: str, path: str) -> str:
    """Return the word by which ``path`` was given, ``key`` where it was not.

    >>> remember({"data": "boxes"})
    >>> word_of("train_dataloader.dataset.data_root", "boxes")
    'data'
    """
    return _given.get(os.path.normpath(path), key)


def word_above(path: str) -> str | None:
    """Return the word by which ``path`` or a folder above it was given; None where none was."""
    below = f"{os.path.normpath(path)}{os.sep}"
    return next(
        (word for given, word in _given.items() if below.startswith(f"{given}{os.sep}")), None
    )


def setting(word: str, value: str) -> str:
    """Return a setting as it is typed.

    >>> setting("data", "DIR"), setting("--data-root", "DIR")
    ('data=DIR', '--data-root DIR')
    """
    return f"{word} {value}" if word.startswith("--") else f"{word}={value}"


def of_dataset(key: str) -> str:
    """Return how an argument of the datasets is named: ``data.KEY`` on a command line, else KEY."""
    return f"data.{key}" if _commands else key


def data_root_word() -> str:
    """Return the word that moves all datasets of a config: the one that was given, else its own."""
    return next(iter(_given.values()), "data_root")
