"""Open both formats of ``torch.save``: pickles of the content, and the bytes of the storages.

Since torch 1.6 a checkpoint is a zip of uncompressed entries; before, it was a stream of pickles
with the storages behind them. Neither is unpacked or unpickled here. The tar of torch 0.1 is not
read.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from .inert_pickle import DamagedPickleError, Record, parse_pickle
from .storage_types import storage_reference

#: First and second pickle of the format before torch 1.6.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
#: Bytes of a pickle, which holds no weights; those of large checkpoints have some megabytes.
MAX_PICKLE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class TorchArchive:
    """Content of a file by ``torch.save``.

    Attributes:
        tree: What the pickle holds, as ``parse_pickle`` gives it.
        read_storage: Function from a storage's key to its bytes.
    """

    tree: Any
    read_storage: Callable[[str], bytes | memoryview]


def open_archive(file: BinaryIO) -> TorchArchive | None:
    """Parse the pickle of a torch file; None where the file is neither of the two formats.

    Args:
        file: Seekable file, which has to stay open as long as storages are read.

    Raises:
        DamagedPickleError: If the file is of one of the formats, but not as torch writes it.
    """
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    if start.startswith(b"PK"):
        try:
            return _open_zip(file)
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise DamagedPickleError(f"its zip archive is damaged: {error}") from error
    return _open_stream(file)


def _open_zip(file: BinaryIO) -> TorchArchive | None:
    size = file.seek(0, os.SEEK_END)
    archive = zipfile.ZipFile(file)
    entries = {entry.filename: entry for entry in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
    roots = [root for root in roots if root.count("/") == 1]
    if len(roots) != 1 or f"{roots[0]}constants.pkl" in entries:  # constants are a TorchScript's
        return None
    if len(entries) < len(archive.infolist()):
        raise DamagedPickleError("its zip archive has two entries of one name")
    # torch never compresses. Without, and without overlaps, a file cannot hold more than its size.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise DamagedPickleError("its zip archive is compressed")
    if sum(entry.file_size for entry in entries.values()) > size:
        raise DamagedPickleError(f"its zip archive claims to hold more than its {size} bytes")

    def read(name: str) -> bytes:
        entry = entries.get(roots[0] + name)
        if entry is None:
            raise DamagedPickleError(f"its zip archive has no entry {roots[0] + name!r}")
        return archive.read(entry)

    if f"{roots[0]}byteorder" in entries:
        _require_byte_order(read("byteorder").decode("ascii", "replace"))
    if entries[f"{roots[0]}data.pkl"].file_size > MAX_PICKLE_BYTES:
        raise DamagedPickleError(f"its pickle is larger than {MAX_PICKLE_BYTES} bytes")
    tree = parse_pickle(io.BytesIO(read("data.pkl")))
    return TorchArchive(tree, lambda key: read(f"data/{key}"))


def _open_stream(file: BinaryIO) -> TorchArchive | None:
    data = file.read()
    stream = io.BytesIO(data)
    try:
        if parse_pickle(stream) != _MAGIC:
            return None
    except DamagedPickleError:  # a file of something else
        return None
    if parse_pickle(stream) != _PROTOCOL:
        return None
    system = parse_pickle(stream)
    pairs = system.pairs if isinstance(system, Record) else []
    little = next((value for key, value in pairs if key == "little_endian"), True)
    _require_byte_order("little" if little else "big")
    tree = parse_pickle(stream)
    keys = parse_pickle(stream)
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise DamagedPickleError("it does not list its storages")
    storages = _storages_behind(stream, keys, _item_sizes(tree))

    def read(key: str) -> memoryview:
        if key not in storages:
            raise DamagedPickleError(f"it has no storage {key!r}")
        start, end = storages[key]
        return memoryview(data)[start:end]

    return TorchArchive(tree, read)


def _require_byte_order(order: str) -> None:
    if order != sys.byteorder:
        raise DamagedPickleError(f"its numbers are stored {order}-endian")


def _storages_behind(
    stream: io.BytesIO, keys: list[str], item_sizes: dict[str, int]
) -> dict[str, tuple[int, int]]:
    """Return the first and the last position of each storage behind the pickles of a stream."""
    storages = {}
    end = len(stream.getbuffer())
    for key in keys:
        count = stream.read(8)
        if key not in item_sizes:
            raise DamagedPickleError(f"nothing says what its storage {key!r} holds")
        if len(count) < 8:
            raise DamagedPickleError(f"its storage {key!r} is cut off")
        start = stream.tell()
        stop = start + struct.unpack("<q", count)[0] * item_sizes[key]
        if not start <= stop <= end:
            raise DamagedPickleError(f"its storage {key!r} is cut off")
        storages[key] = start, stop
        stream.seek(stop)
    return storages


def _item_sizes(tree: Any) -> dict[str, int]:
    """Return the bytes per number of each storage that ``tree`` refers to, in a stream."""
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, list | tuple | Record):
            continue
        seen.add(id(node))
        if isinstance(node, Record):
            reference = storage_reference(node)
            if reference is not None:
                size = sizes.setdefault(reference.key, reference.dtype.itemsize)
                if size != reference.dtype.itemsize:
                    raise DamagedPickleError(f"its storage {reference.key!r} has two types")
            waiting += [node.args, node.state, node.items, node.pairs]
        else:
            waiting += node
    return sizes
