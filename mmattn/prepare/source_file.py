"""A file that a dataset is made of, and its size in words."""

from __future__ import annotations

from dataclasses import dataclass

from mmattn.io.byte_counts import bytes_in_words


@dataclass(frozen=True)
class SourceFile:
    """An archive that a dataset is made of.

    Attributes:
        name: Name of the file.
        urls: Addresses of it, tried in this order; none where it needs an account.
        size: Size in bytes; None where it is not known.
        about: Size as its publisher tells it, where the exact one is not known.
        digests: Published digests, such as ``sha256:…`` or ``md5:…``; one must fit. Empty where
            none is known.
        top: Folders at the top of the archive that are dropped, as a pattern.
        holds: Patterns of names below ``top``, each of which at least one member has: by them a
            file with another one's name is found out.
    """

    name: str
    urls: tuple[str, ...] = ()
    size: int | None = None
    about: str = ""
    digests: tuple[str, ...] = ()
    top: str = ""
    holds: tuple[str, ...] = ()


def size_in_words(file: SourceFile) -> str:
    """Return the size of a file; ``size not known`` where it is not."""
    if file.size is not None:
        return bytes_in_words(file.size)
    return f"about {file.about}" if file.about else "size not known"
