"""A manifest of a dataset: size and SHA-256 of every file, so that silent damage is found.

A flipped bit in a JPEG or PNG mostly decodes without an error, to other pixels: no check of a
decoder sees it. So the files that a dataset uses are written down once, when they are known to be
right, and compared later: after a copy, on another machine, before a long training. Paths are
relative to the dataset's folder, which may have moved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mmattn.errors import DataError
from mmattn.io.file_digest import file_sha256
from mmattn.io.plain_data import parse_json, read_text

from .record import read_record

VERSION = 1
_SHOWN = 20


@dataclass(frozen=True)
class FileState:
    """Size and digest of a file at the time of the manifest.

    Attributes:
        size: Its size in bytes.
        sha256: Its SHA-256, in hexadecimal digits.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of the datasets of a config.

    Attributes:
        datasets: Config key of a dataset -> path relative to its folder -> state of the file.
        prepared: Config key of a dataset -> what its ``dataset.json`` says, where it has one.
    """

    datasets: Mapping[str, Mapping[str, FileState]]
    prepared: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain data."""
        return {
            "version": VERSION,
            "hash": "sha256",
            **({"prepared": dict(self.prepared)} if self.prepared else {}),
            "datasets": {
                where: {path: [state.size, state.sha256] for path, state in files.items()}
                for where, files in self.datasets.items()
            },
        }


def write_manifest(path: str, datasets: Mapping[str, tuple[str, Iterable[str]]]) -> Manifest:
    """Hash files and write down what they are.

    Args:
        path: Path of the manifest, which appears when it is complete.
        datasets: Config key of a dataset -> its folder and the paths of its files.

    Returns:
        What was written.

    Raises:
        DataError: A file cannot be read, or the manifest not be written.
    """
    from mmattn.io import atomic_write

    records = {where: read_record(root) for where, (root, _) in datasets.items() if root}
    prepared = {where: record.summary() for where, record in records.items() if record}
    states = {where: _states(*place) for where, place in datasets.items()}
    manifest = Manifest(states, prepared)
    try:
        with atomic_write(path, "w") as file:
            json.dump(manifest.to_json(), file, indent=0, sort_keys=True)
    except OSError as error:
        raise DataError(f"{path}: the manifest cannot be written: {error.strerror}") from error
    return manifest


def read_manifest(path: str) -> Manifest:
    """Read a manifest.

    Raises:
        DataError: It is missing, cut off, or no manifest.
    """
    content = parse_json(read_text(path), path)
    try:
        if content["version"] != VERSION or content["hash"] != "sha256":
            raise ValueError(f"version {content['version']!r}, hash {content['hash']!r}")
        return Manifest(
            {
                where: {name: FileState(int(size), str(sha)) for name, (size, sha) in files.items()}
                for where, files in content["datasets"].items()
            },
            content.get("prepared") or {},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is not a manifest of version {VERSION} ({type(error).__name__}: {error}). "
            "Write one with mmattn check CONFIG --write-manifest FILE"
        ) from error


def compare_with_manifest(
    path: str, datasets: Mapping[str, tuple[str, Iterable[str]]], *, hashes: bool = True
) -> int:
    """Compare files with what they were.

    Args:
        path: Path of the manifest.
        datasets: As in ``write_manifest``.
        hashes: Compare their SHA-256, for which every file is read; without, names and sizes are
            compared alone.

    Returns:
        Number of files compared, all of them unchanged.

    Raises:
        DataError: Files are missing, new, or changed; the message has the number of each and the
            first of them.
    """
    known = read_manifest(path)
    faults: list[str] = []
    count = 0
    for where, (root, files) in datasets.items():
        before = known.datasets.get(where)
        if before is None:
            listed = ", ".join(known.datasets)
            raise DataError(
                f"{path} has no {where}, but {listed}: write it for this config and for the splits "
                "that are run (mmattn check CONFIG --splits train val test --write-manifest "
                "FILE)"
            )
        names = {_relative(file, root): file for file in files}
        faults += [f"{root}: {name} is missing" for name in before if name not in names]
        faults += [f"{file} is not in the manifest" for n, file in names.items() if n not in before]
        both = [name for name in names if name in before]
        sizes = {name: _size(names[name]) for name in both}
        changed = [name for name in both if sizes[name] != before[name].size]
        faults += [
            f"{names[name]} has {sizes[name]} bytes, it had {before[name].size}" for name in changed
        ]
        same = [name for name in both if sizes[name] == before[name].size]
        found = _hashes([names[name] for name in same]) if hashes else ()
        faults += [
            f"{names[name]} has other bytes than it had (SHA-256 {new[:12]}, it was "
            f"{before[name].sha256[:12]})"
            for name, new in zip(same, found, strict=hashes)
            if new != before[name].sha256
        ]
        count += len(both)
    if faults:
        shown = "\n  ".join(faults[:_SHOWN])
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise DataError(
            f"{len(faults)} files differ from {path}:\n  {shown}{more}\nRestore them, or write a "
            "new manifest if they were changed on purpose"
        )
    return count


def _states(root: str, files: Iterable[str]) -> dict[str, FileState]:
    files = list(dict.fromkeys(files))
    pairs = zip(files, map(_size, files), _hashes(files), strict=True)
    return {_relative(file, root): FileState(size, sha) for file, size, sha in pairs}


def _relative(file: str, root: str) -> str:
    return os.path.relpath(file, root or ".").replace(os.sep, "/")


def _size(file: str) -> int:
    try:
        return os.path.getsize(file)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error


def _hashes(files: list[str]) -> list[str]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashlib frees the interpreter
        return list(pool.map(_hash, files))


def _hash(file: str) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
