"""Prepare a dataset by its name: find its archives, check them, unpack, convert, check, record."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import mmattn
from mmattn.data.record import RECORD, DatasetRecord, read_record, write_record
from mmattn.errors import DataError
from mmattn.io import atomic_write
from mmattn.io.lock import locked

from .card import DatasetCard
from .catalog import CATALOG, card_of
from .check import LayoutReport, check_layout
from .digests import DigestBook, verify
from .find import Found, find_files
from .stage import WORK, Stage, storage_errors
from .subset import Subset
from .terms import accept, tell

_STATE, _LOCK, _PLACING = "state.json", "lock", "placing"


@dataclass(frozen=True)
class Wishes:
    """How a dataset is prepared.

    Attributes:
        given: Archives of the user's, folders with them, or what they were unpacked into.
        subset: Part of it; None for all.
        accept_terms: Whether the terms are accepted.
        full_check: Read every image's header and every mask afterwards.
        keep_archives: Keep what was fetched, in the folder ``archives``.
        allow_other_digests: Take archives that are not the published ones, with a line.
    """

    given: tuple[Path, ...] = ()
    subset: Subset | None = None
    accept_terms: bool = False
    full_check: bool = False
    keep_archives: bool = False
    allow_other_digests: bool = False


def prepare(
    name: str,
    root: str | os.PathLike[str],
    wishes: Wishes = Wishes(),
    *,
    ask: Callable[[str], str] | None = None,
    say: Callable[[str], None] = print,
) -> DatasetRecord:
    """Prepare a dataset, or go on where an earlier call was cut.

    Args:
        name: Name of the dataset in the catalog.
        root: Folder of the dataset, which is ``data_root`` of a config afterwards.
        wishes: How.
        ask: Asks a question and returns the answer, for the terms; None where nobody can be asked.
        say: Called with a line for each step.

    Returns:
        What is in the folder.

    Raises:
        ConfigError: There is no such dataset, or its terms are not accepted.
        DataError: An archive is missing, damaged or another one, or the folder holds other things.
        StorageError: The disk is full.
    """
    card, root = card_of(name), Path(root)
    with storage_errors(root):
        done = read_record(root)
        if done is None:
            _refuse_foreign(card, root)
    if done is not None:
        _refuse_another(card, root, done, wishes.subset)
        shutil.rmtree(root / WORK, ignore_errors=True)  # of a call that was killed at its end
        say(f"{root} is complete: {done.sentence()}")
        return done
    tell(card, say)
    terms = accept(card, given=wishes.accept_terms, ask=ask)
    with storage_errors(root):
        (root / WORK).mkdir(parents=True, exist_ok=True)
    with locked(root / WORK / _LOCK, lambda: _refuse(root)), storage_errors(root):
        _forget_other_state(card, root, wishes.subset, say)
        return _prepare(card, root, wishes, terms, say)


def check_prepared(
    root: str | os.PathLike[str],
    name: str | None = None,
    *,
    full: bool = False,
    say: Callable[[str], None] = print,
) -> LayoutReport:
    """Check the folder of a dataset again.

    Args:
        root: The folder.
        name: Name of the dataset, where it was not prepared by ``prepare``.
        full: Read every image's header and every mask.
        say: Called with a line for each thing that is found.

    Raises:
        ConfigError: There is no such dataset.
        DataError: The folder differs from what it should hold, or does not say what it is.
    """
    root = Path(root)
    record = read_record(root)
    if record is None and name is None:
        raise DataError(
            f"{root} has no {RECORD} of mmattn: give the name of the dataset, --name, one of "
            f"{', '.join(CATALOG)}"
        )
    card = card_of(name or (record.name if record else ""))
    if record is not None and record.name != card.name:
        raise DataError(f"{root} holds {record.name}, not {card.name} ({root / RECORD})")
    expected = None
    if record is not None:
        say(f"{root}: {record.sentence()}")
        expected = {split: counts["images"] for split, counts in record.splits.items()}
        now = _content(root)
        if now != dict(record.content):
            raise DataError(
                f"{root} has {now['files']} files with {now['bytes']} bytes, or other names, and "
                f"had {record.content.get('files')} with {record.content.get('bytes')} when it was "
                "prepared: files were lost, added or changed. Prepare it again, into an empty "
                "folder"
            )
    report = check_layout(card, root, expected, full=full, say=say)
    for line in _found(report):
        say(line)
    return report


def _prepare(
    card: DatasetCard,
    root: Path,
    wishes: Wishes,
    terms: Mapping[str, Any],
    say: Callable[[str], None],
) -> DatasetRecord:
    work = root / WORK
    book = DigestBook(work / "digests.json")
    say("archives")
    found = find_files(card, wishes.given, work / "archives", book, say)
    sources = _verified(card, found, book, wishes.allow_other_digests, say)
    say("unpack and convert" + (f" {wishes.subset.words}" if wishes.subset else ""))
    places = {name: place.path for name, place in found.items()}
    stage = Stage(root, card.files, places, wishes.subset, say)
    if not (work / _PLACING).exists():
        card.arrange(stage)
        say("check" + (", every file" if wishes.full_check else ""))
        report = check_layout(
            card, stage.tree, _expected(card, wishes.subset), full=wishes.full_check, say=say
        )
        with atomic_write(work / _PLACING, "w") as file:
            json.dump(report.splits, file)
    splits = json.loads((work / _PLACING).read_text("utf-8"))
    report = LayoutReport(splits)
    for line in report.lines():
        say(line)
    _place(stage.tree, root)
    record = DatasetRecord(
        name=card.name,
        title=card.title,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        version=mmattn.__version__,
        classes=card.classes,
        sources=sources,
        splits=splits,
        subset=wishes.subset.text if wishes.subset else None,
        terms=terms,
        content=_content(root),
    )
    if hasattr(os, "sync"):
        os.sync()
    if wishes.keep_archives and (work / "archives").is_dir():
        _keep(work / "archives", root / "archives", say)
    write_record(work, record)  # nothing but the complete file ever appears in the dataset
    os.replace(work / RECORD, root / RECORD)
    shutil.rmtree(work)
    say(f"{root}: {record.sentence()}")
    return record


def _verified(
    card: DatasetCard,
    found: Mapping[str, Found],
    book: DigestBook,
    allow_other: bool,
    say: Callable[[str], None],
) -> tuple[dict[str, Any], ...]:
    sources = []
    for file in card.files:
        place = found[file.name]
        entry: dict[str, Any] = {"file": file.name, "from": place.origin}
        if place.is_unpacked:
            say(f"  {file.name}: unpacked already, in {place.path}; no digest can be compared")
            entry |= {"size": None, "sha256": None, "verified": None}
        else:
            entry["size"] = place.path.stat().st_size
            entry |= verify(file, place.path, book, say, others=card.files, allow_other=allow_other)
        sources.append(entry)
    return tuple(sources)


def _expected(card: DatasetCard, subset: Subset | None) -> dict[str, int] | None:
    return subset and {split.name: subset.size(split.count) for split in card.splits}


def _found(report: LayoutReport) -> list[str]:
    return [
        *report.lines(),
        f"  read: {report.read['images']} headers of images, {report.read['masks']} masks",
    ]


def _refuse_another(
    card: DatasetCard, root: Path, done: DatasetRecord, subset: Subset | None
) -> None:
    asked = subset.text if subset else None
    if done.name != card.name or done.subset != asked:
        raise DataError(
            f"{root} holds {done.sentence()} ({done.name}"
            f"{f', --subset {done.subset}' if done.subset else ''}), and {card.name}"
            f"{f', --subset {asked}' if asked else ''}, is asked for: give another --root"
        )


def _refuse_foreign(card: DatasetCard, root: Path) -> None:
    """Refuse a folder with files that a preparation would overwrite or mix with."""
    if not root.exists():
        return
    if not root.is_dir():
        raise DataError(f"--root {root} is a file; give a folder")
    names = {entry.name for entry in root.iterdir()} - {WORK, "archives"}
    if names and not (root / WORK / _PLACING).exists():
        raise DataError(
            f"--root {root} holds {', '.join(sorted(names)[:4])} already, which this command did "
            "not put there. Give an empty folder; or, if it is the dataset, check it: mmattn data "
            f"check {root} --name {card.name}"
        )


def _forget_other_state(
    card: DatasetCard, root: Path, subset: Subset | None, say: Callable[[str], None]
) -> None:
    """Remove what a preparation of something else has left; archives are kept."""
    work = root / WORK
    state = {"name": card.name, "subset": subset.text if subset else None}
    try:
        before = json.loads((work / _STATE).read_text("utf-8"))
    except (OSError, ValueError):
        before = None
    if before == state:
        say(f"going on with what is in {work}")
        return
    if (work / _PLACING).exists():
        raise DataError(
            f"{root} was about to become {before or 'another dataset'}: finish that with the same "
            "command, or give another --root"
        )
    for entry in work.iterdir():
        if entry.is_dir() and entry.name != "archives":
            shutil.rmtree(entry)
    with atomic_write(work / _STATE, "w") as file:
        json.dump(state, file)


def _place(tree: Path, root: Path) -> None:
    """Move what was put together to where it belongs; each step is one renaming."""
    if tree.is_dir():
        for entry in sorted(tree.iterdir()):
            os.replace(entry, root / entry.name)


def _keep(archives: Path, target: Path, say: Callable[[str], None]) -> None:
    target.mkdir(exist_ok=True)
    for file in sorted(archives.iterdir()):
        if file.suffix not in (".url", ".part", ".fetched"):
            os.replace(file, target / file.name)
    say(f"  what was fetched is kept in {target}")


def _content(root: Path) -> dict[str, Any]:
    """Return number, bytes and SHA-256 of names and sizes of the files of a dataset."""
    sizes = {}
    for folder, folders, files in os.walk(root):
        if Path(folder) == root:
            folders[:] = [name for name in folders if name not in (WORK, "archives")]
            files = [name for name in files if name != RECORD]
        for file in files:
            place = Path(folder, file)
            sizes[place.relative_to(root).as_posix()] = place.stat().st_size
    lines = "".join(f"{name}\t{sizes[name]}\n" for name in sorted(sizes))
    digest = sha256(lines.encode()).hexdigest()
    return {"files": len(sizes), "bytes": sum(sizes.values()), "sha256": digest}


def _refuse(root: Path) -> NoReturn:
    raise DataError(
        f"{root} is being prepared by another process; wait for it, or give another --root"
    )
