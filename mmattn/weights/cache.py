"""Where weights lie on this machine, and what is remembered of each file.

``$MMATTN_CACHE/weights/NAME`` (``~/.cache/mmattn/weights/NAME`` by default) holds the source's
file, ``source.json`` with its digest and where it came from, and what was converted from it.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from mmattn.errors import DigestError, StorageError
from mmattn.io.atomic import atomic_write
from mmattn.io.file_digest import file_sha256
from mmattn.io.storage import storage_error

from .entries import Entry

RECORD = "source.json"
#: What else helps where the cache cannot be written.
INSTEAD = "set MMATTN_CACHE to another folder"
BY_HAND = "put there by hand"


@dataclass(frozen=True)
class SourceRecord:
    """What is known of a source's file in the cache.

    Attributes:
        file: Its name.
        size: Its bytes.
        mtime_ns: Time of its last change, in nanoseconds; another one means another file.
        sha256: Its digest, as it was read.
        origin: Where it came from.
        date: When.
    """

    file: str
    size: int
    mtime_ns: int
    sha256: str
    origin: str
    date: str


def cache_folder() -> Path:
    """Return the folder of all weights: below ``$MMATTN_CACHE``, else the user's cache."""
    if os.environ.get("MMATTN_CACHE"):
        return Path(os.environ["MMATTN_CACHE"]).expanduser() / "weights"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mmattn" / "weights"


def source_path(entry: Entry) -> Path:
    """Return where the source's file of an entry lies, or belongs."""
    return cache_folder() / entry.name / entry.file


def cached_source(entry: Entry) -> SourceRecord | None:
    """Return the record of the file in the cache; None where there is no file.

    A file that is not the one of the record, such as one that was put there by hand, is read and
    compared with the index first.

    Raises:
        DigestError: It is not the file that the index describes.
    """
    path = source_path(entry)
    if not path.is_file():
        return None
    record = read_record(entry)
    facts = path.stat()
    same = record and (record.size, record.mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    sha256 = record.sha256 if record and same else file_sha256(path)
    problem = digest_problem(entry, sha256)
    if problem:
        raise DigestError(f"{path}: {problem} Remove it, and the right one is fetched.")
    if record and same:
        return record
    known = record is not None and record.sha256 == sha256
    return remember(entry, sha256, record.origin if known and record else BY_HAND)


def remember(entry: Entry, sha256: str, origin: str) -> SourceRecord:
    """Write the record of a file that has just been read."""
    path = source_path(entry)
    facts = path.stat()
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record = SourceRecord(path.name, facts.st_size, facts.st_mtime_ns, sha256, origin, date)
    # A cache that many share may be read-only; then the file is read at every use.
    with contextlib.suppress(OSError), atomic_write(path.with_name(RECORD), "w") as file:
        file.write(json.dumps(asdict(record), indent=1) + "\n")
    return record


def read_record(entry: Entry) -> SourceRecord | None:
    """Return the record as it was written, of a file that may have changed; None without one."""
    try:
        raw = json.loads((cache_folder() / entry.name / RECORD).read_text(encoding="utf-8"))
        return SourceRecord(**raw)
    except (OSError, ValueError, TypeError):  # none, or one that another version wrote
        return None


def digest_problem(entry: Entry, sha256: str) -> str | None:
    """Return how a SHA-256 differs from that of the index, with both; None where it does not."""
    if not entry.digest or sha256.startswith(entry.digest):
        return None
    return (
        f"is not the file of {entry.name}: its SHA-256 is {sha256}, and the index says "
        f"{entry.digest}{'' if entry.sha256 else '…'}."
    )


def cache_error(error: OSError, path: Path, needed: int | None) -> StorageError:
    """Return what ``error`` says about a file of the cache, with the way out."""
    return storage_error(error, path, needed, instead=INSTEAD)
