"""Have weights on this disk: from the cache, a mirror or the network, checked and converted."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmattn.errors import DigestError, DownloadError
from mmattn.io.download import OFFLINE, PATIENCE, Patience, SourceError, offline
from mmattn.io.file_digest import file_sha256
from mmattn.io.lock import locked

from .cache import (
    INSTEAD,
    SourceRecord,
    cached_source,
    digest_problem,
    remember,
    source_path,
)
from .converted import convert_source, converted_path
from .entries import Entry
from .index import find_entry
from .licences import require_licence
from .places import MIRROR, Arrived, Place, places_of
from .progress import ProgressLine

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pulled:
    """Weights on this disk.

    Attributes:
        entry: Their entry.
        path: File to load: converted weights, or the source's where nothing is to be converted.
        source: The source's file.
        sha256: SHA-256 of the source's file.
        origin: Where that came from.
    """

    entry: Entry
    path: Path
    source: Path
    sha256: str
    origin: str

    def __str__(self) -> str:
        """One line for a log: name, file, digest, origin and licence."""
        by = f", converted by {self.entry.converter}" if self.entry.converter else ""
        return (
            f"{self.entry.name}: {self.path}{by}; source {self.source.name}, sha256 {self.sha256}, "
            f"from {self.origin}; licence {self.entry.licence.name}"
        )


def pull_weights(
    name: str,
    *,
    accept: bool = False,
    ask: Callable[[str], bool] | None = None,
    say: Callable[[str], None] = _logger.info,
    patience: Patience = PATIENCE,
) -> Pulled:
    """Return the weights called ``name``, downloaded and converted if they are not in the cache.

    Several processes may ask at once: one downloads, the others wait for it.

    Args:
        name: Name in the index.
        accept: The user accepts the licence.
        ask: Asks the user whether; None where nobody can answer.
        say: Called with lines about what happens.
        patience: Limits of time for each server.

    Raises:
        MissingCheckpointError: There is no such name.
        LicenceError: The licence has to be accepted first.
        DownloadError: No source gives the file; the message says what to do without network.
        DigestError: What is there, or came, is another file than the index describes.
        CheckpointError: It cannot be read safely, or converted.
        StorageError: The cache cannot be written.
    """
    entry = find_entry(name)
    require_licence(entry, accept=accept, ask=ask)
    record = cached_source(entry)
    if record is None or not _is_converted(entry, record):
        lock = source_path(entry).with_name(".lock")
        waiting = f"{name}: waiting for another process that fetches it"
        with locked(lock, lambda: say(waiting), instead=INSTEAD):
            record = cached_source(entry) or _fetch(entry, say, patience)
            if entry.converter:
                convert_source(entry, record, say)
    source = source_path(entry)
    path = converted_path(entry, record) if entry.converter else source
    return Pulled(entry, path, source, record.sha256, record.origin)


def _is_converted(entry: Entry, record: SourceRecord) -> bool:
    return not entry.converter or converted_path(entry, record).is_file()


def _fetch(entry: Entry, say: Callable[[str], None], patience: Patience) -> SourceRecord:
    """Try one place after the other until one gives the file that the index describes."""
    target = source_path(entry)
    part = target.with_name(f".{target.name}.part")
    failures: list[tuple[Place, SourceError]] = []
    wrong: DigestError | None = None
    for place in places_of(entry, patience):
        if place.network and offline():
            failures.append((place, SourceError(f"{OFFLINE} is set", offline=True)))
            continue
        try:
            with ProgressLine(entry.name) as progress:
                arrived = place.fetch(part, progress)
            return _accept(entry, part, arrived, say)
        except SourceError as error:
            failures.append((place, error))
            say(f"{entry.name}: {place.name}: {error.reason}")
        except DigestError as error:
            wrong = error
            say(f"{entry.name}: {place.name}: {error}")
    if wrong is not None:
        raise wrong
    raise DownloadError(_no_source(entry, failures))


def _accept(entry: Entry, part: Path, arrived: Arrived, say: Callable[[str], None]) -> SourceRecord:
    """Give a file that came its name, if it is the right one; else set it aside."""
    target = source_path(entry)
    sha256 = file_sha256(part)
    problem = digest_problem(entry, sha256)
    if problem is None and arrived.sha256 not in (None, sha256):
        problem = f"came with SHA-256 {sha256}, and the server says {arrived.sha256}."
    if problem:
        aside = target.with_name(f"{target.name}.wrong")
        os.replace(part, aside)
        raise DigestError(
            f"{arrived.origin}: {problem} It is set aside as {aside}; if it comes so again, the "
            "source has changed its file: do not use it."
        )
    os.replace(part, target)
    record = remember(entry, sha256, arrived.origin)
    known = "the index knows none, so it is recorded"
    if entry.digest:
        digits = "" if entry.sha256 else f", in its first {len(entry.digest)} digits"
        known = f"as the index says{digits}"
    say(f"{entry.name}: {record.size / 1e6:.1f} MB from {arrived.origin}; sha256 {sha256}, {known}")
    if arrived.note:
        say(f"{entry.name}: {arrived.note}")
    return record


def _no_source(entry: Entry, failures: list[tuple[Place, SourceError]]) -> str:
    """Say in one sentence why nothing came, and what to do."""
    place = source_path(entry)
    if not entry.sources:
        tried = "".join(f" ({one.name}: {error.reason})" for one, error in failures)
        return (
            f"{entry.name}: mmattn does not download these weights{tried}: get {entry.file} from "
            f"{entry.page} and put it at {place}"
        )
    tried = ", ".join(f"{one.name} ({error.reason})" for one, error in failures)
    return (
        f"{entry.name} cannot be downloaded: {tried}. Put the file at {place}, or set {MIRROR} to "
        f"a folder or an address that has it, or run mmattn weights bundle {entry.name} --out "
        f"weights.tar on a machine with network and set {MIRROR}=weights.tar here."
    )
