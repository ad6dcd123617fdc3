"""The results of a shard, one line of JSON for each image: what is in it is finished.

The line and the fact that the image is finished are one thing, so that a run which is killed at any
moment can go on: a line that is not complete is cut off, and its image is predicted again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mmattn.errors import ConfigError, DataError
from mmattn.io.storage import storage_error

from .shard import Shard, read_shard

#: Folder of the lines, below that of the results.
PARTS = "parts"
#: Seconds after which lines are forced to the disk.
_SYNC_AFTER = 10.0


def part_path(out: Path, shard: Shard) -> Path:
    """Return the file of a shard's lines."""
    return out / PARTS / f"part-{shard.index:05d}-of-{shard.count:05d}.jsonl"


def finished_path(part: Path) -> Path:
    """Return the file that says that a part holds all images of its shard."""
    return part.with_suffix(".finished")


def list_parts(out: Path) -> list[Path]:
    """Return the files of all shards that were begun, sorted."""
    return sorted((out / PARTS).glob("part-*-of-*.jsonl"))


def shard_of(part: Path) -> Shard:
    """Return the shard whose lines a file holds."""
    _, index, _, count = part.stem.split("-")
    return read_shard(f"{int(index)}/{int(count)}")


def read_lines(part: Path) -> Iterator[dict[str, Any]]:
    """Yield what the complete lines of a part hold, up to the first that is damaged."""
    for record, _ in _records(part):
        yield record


class Journal:
    """The lines of one shard, and the images that an earlier run has finished.

    Of a finished image 8 bytes are kept, a hash of its name.

    Args:
        out: Folder of the results.
        shard: Whose images these are.

    Attributes:
        done: Number of images that an earlier run has finished.
        broken: Names and reasons of the first images among these that could not be read.
        broken_count: Number of them.
        cut: Bytes of incomplete lines that were cut off.

    Raises:
        ConfigError: Another process is at work on the shard.
        StorageError: The file cannot be written.
    """

    def __init__(self, out: Path, shard: Shard) -> None:
        import numpy as np

        self.path = part_path(out, shard)
        self.cut = 0
        self.broken: list[str] = []
        self.broken_count = 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise storage_error(error, self.path, instead="give another --out") from error
        self._lock(self._file, self.path)
        finished_path(self.path).unlink(missing_ok=True)
        hashes = [*self._read_own(), *self._read_others(out, shard)]
        self._done = np.unique(np.array(hashes, np.uint64))
        self.done = len(self._done)
        self._synced = time.monotonic()

    def __contains__(self, name: str) -> bool:
        import numpy as np

        wanted = np.uint64(_hash(name))
        place = int(np.searchsorted(self._done, wanted))
        return place < len(self._done) and self._done[place] == wanted

    def add(self, record: dict[str, Any]) -> None:
        """Write the line of an image, which is finished by it.

        Raises:
            StorageError: It cannot be written.
        """
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:]) or 0
            if time.monotonic() - self._synced > _SYNC_AFTER:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise storage_error(
                error, self.path, len(line), instead="give another --out"
            ) from error

    def finish(self) -> None:
        """Note that all images of the shard are in the file."""
        os.fsync(self._file.fileno())
        finished_path(self.path).write_text("", "utf-8")

    def close(self) -> None:
        """Close the file, for which another process may then take the shard."""
        self._file.close()

    def _read_own(self) -> list[int]:
        complete, hashes = 0, []
        for record, end in _records(self.path):
            complete = end
            hashes.append(_hash(record["file"]))
            if "error" in record:
                self.broken_count += 1
                if not self.broken:
                    self.broken.append(record["error"])
        size = self.path.stat().st_size
        if complete < size:
            self.cut = size - complete
            os.truncate(self.path, complete)
        return hashes

    def _read_others(self, out: Path, shard: Shard) -> list[int]:
        """Return the images of this shard that runs of another number of shards have finished."""
        hashes = []
        for part in list_parts(out):
            other = shard_of(part)
            if other.count == shard.count:
                continue
            with open(part, "rb") as file:
                self._lock(file, part)
                names = (record["file"] for record in read_lines(part))
                hashes += [_hash(n) for n in names if shard.owns(os.path.splitext(n)[0])]
        return hashes

    @staticmethod
    def _lock(file: IO[bytes], path: Path) -> None:
        """Hold a file as long as it is open; where there are no such locks, nothing is held."""
        try:
            import fcntl
        except ImportError:  # Windows
            return
        how = fcntl.LOCK_EX if file.writable() else fcntl.LOCK_SH
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{path}: another process is writing this shard; wait for it, or give each process "
                "its own --shard I/N and all of them the same N"
            ) from error
        except OSError:  # some network file systems have none
            return


def _records(part: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the records of a part, each with the place at which its line ends."""
    end = 0
    with open(part, "rb") as file:
        for line in file:
            end += len(line)
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
                record["file"]
            except (ValueError, KeyError, TypeError):
                return
            yield record, end


def _hash(name: str) -> int:
    digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def pin_settings(out: Path, settings: dict[str, Any]) -> None:
    """Write what all results of a folder have in common, or compare it with what is there.

    Raises:
        DataError: The folder holds results of other settings.
        StorageError: The folder cannot be written.
    """
    path = out / PARTS / "settings.json"
    text = json.dumps(settings, indent=1) + "\n"
    mine = path.with_name(f".settings.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text(text, "utf-8")
        if _put_first(mine, path):
            return
    except OSError as error:
        raise storage_error(error, path, len(text), instead="give another --out") from error
    finally:
        with contextlib.suppress(OSError):
            mine.unlink()
    there = json.loads(path.read_text("utf-8"))
    new = json.loads(text)
    for key in [*there, *(key for key in new if key not in there)]:
        if there.get(key) != new.get(key):
            raise DataError(
                f"{out} holds results with {key} {_short(there.get(key))}, and now it is "
                f"{_short(new.get(key))}: give another --out, or remove {out / PARTS}"
            )


def _put_first(mine: Path, path: Path) -> bool:
    """Give a file its name; returns False where one of several processes was faster."""
    try:
        os.link(mine, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        os.replace(mine, path)
    return True


def read_settings(out: Path) -> dict[str, Any]:
    """Return what ``pin_settings`` wrote.

    Raises:
        DataError: There are no results in the folder.
    """
    path = out / PARTS / "settings.json"
    if not path.is_file():
        raise DataError(f"{out} holds no results to merge: {path} is missing")
    return json.loads(path.read_text("utf-8"))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:76]} …"
