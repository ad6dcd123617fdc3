"""Digests of archives, compared with the published ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from mmattn.errors import DataError
from mmattn.io import atomic_write
from mmattn.io.byte_counts import bytes_in_words

from .progress import Progress
from .source_file import SourceFile

_CHUNK = 2**22
_ADVICE = "Delete it and get it again, or take it as it is with --allow-other-digests"


class DigestBook:
    """Digests that were computed before, so that a repetition does not read 20 GB again.

    Args:
        path: File in which they are kept; a damaged one counts as empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def of(self, file: Path, kinds: Iterable[str], say: Callable[[str], None]) -> dict[str, str]:
        """Return the digests of a file, SHA-256 always among them.

        Raises:
            DataError: It cannot be read.
        """
        stat = file.stat()
        key = f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        wanted = {"sha256", *kinds}
        found = self._known.get(key, {})
        if not wanted <= set(found):
            found = _digests(file, wanted, stat.st_size, say)
            self._known[key] = found
            with atomic_write(self._path, "w") as out:
                json.dump(self._known, out)
        return found


def verify(
    file: SourceFile,
    path: Path,
    book: DigestBook,
    say: Callable[[str], None],
    *,
    others: Iterable[SourceFile] = (),
    allow_other: bool = False,
    advice: str = _ADVICE,
) -> dict[str, str | None]:
    """Compare an archive with what is published about it.

    Args:
        file: What is known.
        path: The archive.
        book: Digests that are known already.
        say: Called with a line for what was found.
        others: The other archives of the dataset, to say if it is one of them.
        allow_other: Take it with a line where its size or digest differs.
        advice: What to do about another one, for the message.

    Returns:
        ``sha256`` and ``verified``: the published digest that fits, None where none is known or
        another one is allowed.

    Raises:
        DataError: Size or digest differ.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size and not allow_other:
        raise DataError(
            f"{path} has {size} bytes, {file.name} is published with {file.size}: "
            f"{'it was cut off' if size < file.size else 'it is another file'}. {advice}"
        )
    kinds = [digest.partition(":")[0] for digest in file.digests]
    found = book.of(path, kinds, say)
    fits = [d for d in file.digests if found[d.partition(":")[0]] == d.partition(":")[2]]
    if fits:
        say(f"  {file.name}: {bytes_in_words(size)}, the published {fits[0].partition(':')[0]}")
        return {"sha256": found["sha256"], "verified": fits[0]}
    if not file.digests:
        say(f"  {file.name}: {bytes_in_words(size)}; no published digest is known")
        return {"sha256": found["sha256"], "verified": None}
    if allow_other:
        say(f"  {file.name}: {bytes_in_words(size)}; not the published digest, taken all the same")
        return {"sha256": found["sha256"], "verified": None}
    kind, _, published = file.digests[0].partition(":")
    is_other = next((o.name for o in others if f"sha256:{found['sha256']}" in o.digests), None)
    raise DataError(
        f"{path} has the {kind} {found[kind]}, {file.name} is published with {published}"
        + (f": it is {is_other} under another name" if is_other else "")
        + f". {advice}"
    )


def _digests(file: Path, kinds: set[str], size: int, say: Callable[[str], None]) -> dict[str, str]:
    made = {kind: hashlib.new(kind, usedforsecurity=False) for kind in sorted(kinds)}
    try:
        with Progress(f"reading {file.name}", size, say) as progress, open(file, "rb") as opened:
            while chunk := opened.read(_CHUNK):
                for digest in made.values():
                    digest.update(chunk)
                progress.add(len(chunk))
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    return {kind: digest.hexdigest() for kind, digest in made.items()}
