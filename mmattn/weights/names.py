"""How weights are asked for in a config or a command: ``weights://NAME``, or ``NAME`` alone."""

from __future__ import annotations

import os

from .index import load_index

SCHEME = "weights://"


def entry_name(text: str) -> str | None:
    """Return the name of an entry that ``text`` asks for; None where it is a path or an address.

    ``weights://NAME`` is always a name, known or not. ``NAME`` alone is one where the index has it
    and no file is called so.
    """
    if text.startswith(SCHEME):
        return text.removeprefix(SCHEME)
    plain = text and not any(mark in text for mark in ("/", "\\", "::"))
    if not plain or os.path.exists(text):
        return None
    return text if text in load_index().entries else None
