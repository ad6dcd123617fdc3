"""Find the archives of a dataset: given by the user, fetched before, or to be fetched now."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmattn.errors import DataError
from mmattn.io.download import OFFLINE, SourceError, download, offline

from .card import DatasetCard
from .digests import DigestBook, verify
from .progress import Progress
from .source_file import SourceFile, size_in_words
from .sources import matching
from .stage import need_space


@dataclass(frozen=True)
class Found:
    """An archive.

    Attributes:
        path: Where it is, or the folder that holds what it unpacks to.
        origin: Where it comes from, for the record.
        is_unpacked: Whether ``path`` is such a folder.
    """

    path: Path
    origin: str
    is_unpacked: bool = False


def find_files(
    card: DatasetCard,
    given: Sequence[Path],
    archives: Path,
    book: DigestBook,
    say: Callable[[str], None],
) -> dict[str, Found]:
    """Return where the archives of a dataset are, and fetch those that are nowhere.

    Args:
        card: The dataset.
        given: Archives of the user's, folders with them, or folders that they were unpacked into.
        archives: Folder of those that are fetched.
        book: Digests that are known already.
        say: Called with a line for each.

    Returns:
        Name of the archive -> where it is.

    Raises:
        DataError: Some are missing and cannot be fetched; the message says which, and where a
            person gets them.
        StorageError: The disk has no room for them.
    """
    for path in given:
        _check_readable(path)
    found: dict[str, Found] = {}
    for file in card.files:
        place = _given(file, given)
        if place is None and (archives / file.name).is_file():
            place = Found(archives / file.name, _origin(archives / file.name, file))
        if place is not None:
            found[file.name] = place
    missing = [file for file in card.files if file.name not in found]
    lost = [file for file in missing if card.account or not file.urls]
    if lost:
        raise DataError(_where_to_get(card, lost, given))
    if missing and offline():
        raise DataError(
            f"{OFFLINE} is set, so nothing is fetched, and these archives are not here: "
            f"{', '.join(file.name for file in missing)}. Give the folder that has them with --from"
        )
    need_space(archives.parent, sum(2 * (file.size or 0) for file in missing), "fetch and unpack")
    for file in missing:
        found[file.name] = _fetch(file, archives, book, say)
    return found


def _check_readable(path: Path) -> None:
    """Raise a DataError where a path of ``--from`` is missing or may not be read."""
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        elif not path.exists():
            raise DataError(f"--from {path}: no such file or folder")
    except OSError as error:
        raise DataError(f"--from {path} cannot be read: {error.strerror}") from error


def _given(file: SourceFile, given: Sequence[Path]) -> Found | None:
    for path in given:
        if path.is_file() and path.name == file.name:
            return Found(path, str(path))
        if (path / file.name).is_file():
            return Found(path / file.name, str(path / file.name))
    for path in given:
        folder = matching(file, path)
        if folder is not None:
            return Found(folder, str(folder), is_unpacked=True)
    return None


def _origin(path: Path, file: SourceFile) -> str:
    """Return the address that an archive was fetched from before, as it was noted beside it."""
    note = path.with_name(f"{path.name}.url")
    return note.read_text("utf-8") if note.is_file() else file.urls[0] if file.urls else str(path)


def _fetch(file: SourceFile, archives: Path, book: DigestBook, say: Callable[[str], None]) -> Found:
    """Fetch an archive from the first address that gives the published one.

    What was fetched as a whole is kept as ``NAME.fetched`` until its digest is known: a call that
    is killed meanwhile, which takes minutes for 20 GB, does not fetch it again.
    """
    archives.mkdir(parents=True, exist_ok=True)
    target = archives / file.name
    part, fetched = (target.with_name(f"{file.name}.{end}") for end in ("part", "fetched"))
    note = target.with_name(f"{file.name}.url")
    reasons = []
    if fetched.is_file() and note.is_file():
        url = note.read_text("utf-8")
        say(f"  {file.name} was fetched before; its digest is checked first")
        if _accept(file, fetched, target, book, say, reasons, url):
            return Found(target, url)
        say(f"  {reasons[-1]}")
    for url in file.urls:
        say(f"  fetching {file.name} ({size_in_words(file)}) from {url}")
        try:
            with Progress(f"fetching {file.name}", file.size or 0, say) as progress:
                download(url, part, size=file.size, progress=progress.reach)
        except SourceError as error:
            reasons.append(f"{url}: {error.reason}")
        else:
            note.write_text(url, "utf-8")
            os.replace(part, fetched)
            if _accept(file, fetched, target, book, say, reasons, url):
                return Found(target, url)
        say(f"  {reasons[-1]}")
    raise DataError(
        f"{file.name} could not be fetched:\n  " + "\n  ".join(reasons) + "\nThe same command goes "
        "on where it was cut. Without network, get the file elsewhere and give its folder with "
        "--from"
    )


def _accept(
    file: SourceFile,
    fetched: Path,
    target: Path,
    book: DigestBook,
    say: Callable[[str], None],
    reasons: list[str],
    url: str,
) -> bool:
    """Give a file that was fetched its name; another one is deleted, and the reason added."""
    try:
        verify(file, fetched, book, say, advice="It is deleted")
    except DataError as error:
        fetched.unlink(missing_ok=True)
        reasons.append(f"{url}: {error}")
        return False
    os.replace(fetched, target)
    return True


def _where_to_get(card: DatasetCard, lost: Sequence[SourceFile], given: Sequence[Path]) -> str:
    why = (
        "is given to registered users alone, so it is never fetched here"
        if card.account
        else "cannot be fetched by a program"
    )
    files = "".join(f"\n  {file.name} ({size_in_words(file)})" for file in lost)
    looked = f" Not found in: {', '.join(map(str, given))}." if given else ""
    return (
        f"{card.title} {why}. Get from {card.home} (terms: {card.terms_url}):{files}\n"
        f"and give the folder that you saved them in: mmattn data prepare {card.name} --root D "
        f"--from FOLDER.{looked}"
    )
