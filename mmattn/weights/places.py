"""Places that a file is fetched from, in their order: mirror, hub, mirrors of hosts, hosts.

Each place knows how to put the file at a path, and what to call itself in messages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Protocol
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from mmattn.errors import ConfigError, StorageError, one_line
from mmattn.io.download import PATIENCE, Patience, SourceError, download, open_url

from .cache import cache_error
from .entries import Entry, HubFile
from .index import load_index

#: Variable with a folder, a tar file or an address that has NAME/FILE of ``mmattn weights bundle``.
MIRROR = "MMATTN_WEIGHTS_MIRROR"
_HUB = "https://huggingface.co"
_HTTP = ("http://", "https://")
_COMMIT = re.compile(r"[0-9a-f]{40}")

Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Arrived:
    """Facts about a file that a place gave.

    Attributes:
        origin: Where it came from, for the record.
        sha256: SHA-256 that the place itself promises; None where it does not.
        note: What the user should know; else empty.
    """

    origin: str
    sha256: str | None = None
    note: str = ""


class Place(Protocol):
    """A place that may have a file.

    Attributes:
        name: What messages call it.
        network: Whether it needs the network.
    """

    @property
    def name(self) -> str: ...
    @property
    def network(self) -> bool: ...

    def fetch(self, part: Path, progress: Progress) -> Arrived:
        """Write the file to ``part``.

        Raises:
            SourceError: The place does not give it.
            StorageError: It cannot be written.
        """
        ...


def places_of(entry: Entry, patience: Patience = PATIENCE) -> Iterator[Place]:
    """Yield the places of an entry's file, the first to be tried first.

    Raises:
        ConfigError: ``MMATTN_WEIGHTS_MIRROR`` is no folder, tar file or address.
    """
    mirror = os.environ.get(MIRROR)
    if mirror:
        yield _mirror(mirror, entry, patience)
    hub = [source for source in entry.sources if isinstance(source, HubFile)]
    for source in hub:
        yield HubPlace(source, entry.size, patience)
    for source in entry.sources:
        if not isinstance(source, HubFile):
            for url in (*_mirrored(source.url), source.url):
                yield WebPlace(url, entry.size, patience)


@dataclass(frozen=True)
class WebPlace:
    """A file behind an address."""

    url: str
    size: int | None
    patience: Patience

    network = True

    @property
    def name(self) -> str:
        return urlsplit(self.url).netloc

    def fetch(self, part: Path, progress: Progress) -> Arrived:
        download(self.url, part, size=self.size, progress=progress, patience=self.patience)
        return Arrived(self.url)


@dataclass(frozen=True)
class HubPlace:
    """A file of the Hugging Face hub, at one commit; ``HF_ENDPOINT`` and ``HF_TOKEN`` hold."""

    source: HubFile
    size: int | None
    patience: Patience

    network = True

    @property
    def name(self) -> str:
        return f"{urlsplit(self._endpoint).netloc}/{self.source.repo}"

    @property
    def _endpoint(self) -> str:
        return (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")

    def fetch(self, part: Path, progress: Progress) -> Arrived:
        token = os.environ.get("HF_TOKEN") or None
        revision = self.source.revision or self._newest(token)
        url = f"{self._endpoint}/{self.source.repo}/resolve/{revision}/{quote(self.source.file)}"
        try:
            headers = download(
                url,
                part,
                size=self.size,
                token=token,
                progress=progress,
                patience=self.patience,
            )
        except SourceError as error:
            raise self._explained(error) from error
        note = ""
        if self.source.revision is None:
            note = f"the index knows no commit of {self.source.repo}; this is {revision}, today's"
        # Of files in LFS the hub tells the SHA-256, in the answer that redirects to their storage.
        tag = headers.get("x-linked-etag", "").strip('"')
        return Arrived(url, tag if re.fullmatch(r"[0-9a-f]{64}", tag) else None, note)

    def _newest(self, token: str | None) -> str:
        """Return the commit that ``main`` is at."""
        url = f"{self._endpoint}/api/models/{self.source.repo}/revision/main"
        try:
            response, _ = open_url(url, self.patience, token=token)
            with response:
                commit = json.loads(response.read(1 << 20))["sha"]
        except HTTPError as error:
            error.close()
            refused = error.code in (401, 403)
            raise self._explained(SourceError(f"HTTP {error.code}", refused=refused)) from error
        except (OSError, HTTPException) as error:
            raise SourceError(one_line(error), offline=isinstance(error, OSError)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError("does not say which commit is the newest") from error
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise SourceError("does not say which commit is the newest")
        return commit

    def _explained(self, error: SourceError) -> SourceError:
        if not error.refused:
            return error
        page = f"{self._endpoint}/{self.source.repo}"
        fix = f"accept the terms at {page} and set HF_TOKEN to a token of that account"
        return SourceError(f"{error.reason}: {fix}", refused=True)


@dataclass(frozen=True)
class FolderPlace:
    """A mirror in a folder."""

    folder: Path
    entry: Entry

    network = False

    @property
    def name(self) -> str:
        return str(self.folder)

    def fetch(self, part: Path, progress: Progress) -> Arrived:
        path = self.folder / self.entry.name / self.entry.file
        try:
            with open(path, "rb") as file:
                _copy(file, part, path.stat().st_size)
        except FileNotFoundError as error:
            raise SourceError(f"has no {self.entry.name}/{self.entry.file}") from error
        except StorageError:
            raise
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror or error}") from error
        return Arrived(str(path))


@dataclass(frozen=True)
class TarPlace:
    """A mirror in a tar file; only the one member with the entry's own name is read."""

    file: Path
    entry: Entry

    network = False

    @property
    def name(self) -> str:
        return str(self.file)

    def fetch(self, part: Path, progress: Progress) -> Arrived:
        member = f"{self.entry.name}/{self.entry.file}"
        try:
            with tarfile.open(self.file, "r:") as archive:
                found = archive.getmember(member)
                content = archive.extractfile(found) if found.isfile() else None
                if content is None:
                    raise SourceError(f"{member} in it is no file")
                _copy(content, part, found.size)
        except KeyError as error:
            raise SourceError(f"has no {member}") from error
        except tarfile.TarError as error:
            raise SourceError(f"is no tar file: {error}") from error
        except StorageError:
            raise
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror or error}") from error
        return Arrived(f"{self.file}: {member}")


def _mirror(mirror: str, entry: Entry, patience: Patience) -> Place:
    if mirror.startswith(_HTTP):
        url = f"{mirror.rstrip('/')}/{quote(entry.name)}/{quote(entry.file)}"
        return WebPlace(url, entry.size, patience)
    path = Path(mirror).expanduser()
    if path.is_dir():
        return FolderPlace(path, entry)
    if path.is_file():
        return TarPlace(path, entry)
    raise ConfigError(
        f"{MIRROR}={mirror}: is no folder, no tar file and no address. Give what mmattn weights "
        "bundle wrote, or unset it."
    )


def _mirrored(url: str) -> list[str]:
    return [
        other + url.removeprefix(start)
        for start, others in load_index().mirrors.items()
        if url.startswith(start)
        for other in others
    ]


def _copy(source: IO[bytes], part: Path, size: int) -> None:
    try:
        with open(part, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
    except OSError as error:
        raise cache_error(error, part, size) from error
