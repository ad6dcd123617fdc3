"""The index of weights: the file that mmattn brings along, and one of the user's own."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmattn.errors import ConfigError, MissingCheckpointError, did_you_mean
from mmattn.io.plain_data import parse_yaml, read_text

from .entries import Entry
from .schema import parse_entry

PACKAGED = Path(__file__).with_name("weights.yml")
#: Variable with the path of another index, whose entries come on top.
OWN = "MMATTN_WEIGHTS_INDEX"


@dataclass(frozen=True)
class Index:
    """Entries by name, and hosts that mirror others.

    Attributes:
        entries: Entries by name, in the order of the files.
        mirrors: Beginning of an address -> beginnings that stand for the same files, tried first.
    """

    entries: Mapping[str, Entry]
    mirrors: Mapping[str, tuple[str, ...]]


def load_index() -> Index:
    """Read the packaged index, and the one that ``MMATTN_WEIGHTS_INDEX`` names.

    Raises:
        ConfigError: A file is missing, or an entry is not as the schema says, or a name is there
            twice; the message has file and entry.
    """
    own = os.environ.get(OWN)
    packaged = _read(PACKAGED, _changed(PACKAGED))
    if not own:
        return packaged
    path = Path(own).expanduser()
    added = _read(path, _changed(path))
    twice = sorted(set(packaged.entries) & set(added.entries))
    if twice:
        raise ConfigError(f"{path}: {twice[0]} is in mmattn's own index; take another name")
    return Index({**packaged.entries, **added.entries}, {**packaged.mirrors, **added.mirrors})


def find_entry(name: str) -> Entry:
    """Return the entry called ``name``.

    Raises:
        MissingCheckpointError: There is none; the message offers the nearest names.
    """
    entries = load_index().entries
    if name not in entries:
        raise MissingCheckpointError(
            f"there are no weights called {name!r}.{did_you_mean(name, entries)} "
            "mmattn weights list shows all names."
        )
    return entries[name]


def weights_of_config(index: Index, config: str) -> list[Entry]:
    """Return the weights of a config.

    Args:
        index: Index to search.
        config: Config as entries name it, ``mmattn::yolov12/yolov12-n_8xb32-600e_coco.py``.
    """
    return [entry for entry in index.entries.values() if entry.config == config]


def read_index(path: str | Path) -> Index:
    """Read one index file; see ``load_index``."""
    ours = Path(path) == PACKAGED
    content = parse_yaml(read_text(path, ConfigError), path, ConfigError, fast=ours) or {}
    if not isinstance(content, Mapping) or not isinstance(content.get("weights"), list):
        raise ConfigError(f"{path}: has no list of weights")
    unknown = set(content) - {"licences", "mirrors", "weights"}
    if unknown:
        raise ConfigError(f"{path}: unknown key {sorted(map(str, unknown))[0]!r}")
    entries: dict[str, Entry] = {}
    for number, raw in enumerate(content["weights"]):
        name = raw.get("name") if isinstance(raw, Mapping) else None
        entry = parse_entry(raw, f"{path}: {name or f'weights[{number}]'}")
        if entry.name in entries:
            raise ConfigError(f"{path}: {entry.name} is there twice")
        entries[entry.name] = entry
    return Index(entries, _mirrors(content.get("mirrors"), path))


def _mirrors(raw: object, path: str | Path) -> dict[str, tuple[str, ...]]:
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: mirrors is no mapping")
    for start, others in raw.items():
        if not isinstance(others, list) or not all(
            isinstance(one, str) and one.startswith("http") for one in (start, *others)
        ):
            raise ConfigError(f"{path}: mirrors: {start}: write a list of addresses")
    return {start: tuple(others) for start, others in raw.items()}


def _changed(file: Path) -> int | None:
    return file.stat().st_mtime_ns if file.exists() else None


@functools.lru_cache(maxsize=8)
def _read(file: Path, changed: int | None) -> Index:
    """Read a file once; another time of its last change is another file."""
    return read_index(file)
