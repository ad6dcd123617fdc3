"""Open a plain pickle of weights, numpy's arrays in dictionaries, as detectron2 writes its files.

Nothing is unpickled: the instructions are parsed, as those of torch's files are.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

from .inert_pickle import DamagedPickleError, Record, parse_pickle
from .torch_archive import TorchArchive

#: Functions from which numpy's arrays are made; a pickle without any is no file of weights.
_ARRAYS = tuple(
    f"numpy.{name}"
    for name in (
        "core.multiarray._reconstruct",
        "_core.multiarray._reconstruct",
        "core.numeric._frombuffer",
        "_core.numeric._frombuffer",
    )
)


#: First bytes of the pickle of a dictionary: the number of a protocol from 2 on, or the
#: instruction of protocol 0 or 1 that begins one.
_FIRST = (b"\x80", b"(", b"}")
#: The last instruction of every pickle.
_STOP = b"."


def open_plain_pickle(file: BinaryIO) -> TorchArchive | None:
    """Parse a file that is one pickle of a dictionary with arrays in it; None for any other.

    Only a file that begins and ends as such a pickle is read as a whole.

    Args:
        file: Seekable file.
    """
    if not _may_be_pickle(file):
        return None
    file.seek(0)
    data = file.read()
    stream = io.BytesIO(data)
    try:
        tree = parse_pickle(stream)
    except DamagedPickleError:
        return None
    if stream.tell() != len(data) or not _holds_arrays(tree):
        return None
    return TorchArchive(tree, _no_storage)


def _may_be_pickle(file: BinaryIO) -> bool:
    if file.seek(0, os.SEEK_END) < 2:
        return False
    file.seek(-1, os.SEEK_END)
    last = file.read(1)
    file.seek(0)
    return file.read(1) in _FIRST and last == _STOP


def _no_storage(key: str) -> bytes:
    raise DamagedPickleError(f"it refers to a storage {key!r}, and a plain pickle has none")


def _holds_arrays(tree: Any) -> bool:
    """Return whether an array is in a dictionary, or in a dictionary inside of it."""
    if not _is_dict(tree):
        return False
    inner = [value for _, value in tree.pairs]
    inner += [value for part in inner if _is_dict(part) for _, value in part.pairs]
    return any(isinstance(value, Record) and value.name in _ARRAYS for value in inner)


def _is_dict(node: Any) -> bool:
    return isinstance(node, Record) and node.name in ("builtins.dict", "collections.OrderedDict")
