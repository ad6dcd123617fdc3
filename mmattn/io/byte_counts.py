"""Numbers of bytes in words, in decimal units, as those who publish files count them."""

from __future__ import annotations


def bytes_in_words(count: float) -> str:
    """Return a number of bytes for people.

    >>> bytes_in_words(19336861798)
    '19.3 GB'
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
