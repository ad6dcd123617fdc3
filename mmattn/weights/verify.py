"""Read every file of the cache again, and compare it with the index and its record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mmattn.errors import CheckpointError
from mmattn.io.file_digest import file_sha256

from .cache import cache_folder, digest_problem, read_record, source_path
from .converted import converted_path
from .entries import Entry
from .index import load_index


@dataclass(frozen=True)
class Verified:
    """One file of the cache.

    Attributes:
        name: Name of the weights.
        file: Name of the file.
        problem: What is wrong with it; None where it is whole.
        found: What was found where it is whole, such as ``as in the index``.
    """

    name: str
    file: str
    problem: str | None
    found: str


def verify_cache(names: list[str] | None = None) -> Iterator[Verified]:
    """Read the files of the cache and yield what was found, one by one.

    Args:
        names: Names of the weights; all that are in the cache by default.
    """
    for name, entry in load_index().entries.items():
        if names and name not in names:
            continue
        if source_path(entry).is_file():
            yield from _verify(entry)
        elif names:
            yield Verified(name, entry.file, "is not in the cache", "")
    folders = {path.name for path in cache_folder().glob("*/") if path.is_dir()}
    for name in sorted(folders - set(load_index().entries)):
        if not names:
            yield Verified(name, "", "is in the cache, and no longer in the index", "")


def _verify(entry: Entry) -> Iterator[Verified]:
    path = source_path(entry)
    record = read_record(entry)
    sha256 = file_sha256(path)
    problem = digest_problem(entry, sha256)
    found = "as in the index" if entry.digest else "as in its record"
    if record is None and not entry.digest:
        found = f"no digest is known; its SHA-256 is {sha256}"
    elif record is not None and not problem and record.sha256 != sha256:
        problem = f"has changed since it came: its SHA-256 is {sha256}, and was {record.sha256}"
    yield Verified(entry.name, path.name, problem, found)
    if entry.converter and record is not None:
        yield from _verify_converted(entry)


def _verify_converted(entry: Entry) -> Iterator[Verified]:
    from mmattn.io.checkpoint_files import require_whole

    record = read_record(entry)
    assert record is not None
    path = converted_path(entry, record)
    if not path.is_file():
        return
    problem = None
    try:
        require_whole(path)
    except CheckpointError as error:
        problem = str(error)
    yield Verified(entry.name, path.name, problem, "as in the digest inside it")
