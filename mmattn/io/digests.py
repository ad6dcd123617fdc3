"""SHA-256 digests inside checkpoints: damage is an error, never other numbers.

A file by ``torch.save`` is a zip archive, whose last bytes say how long the comment is that follows
them. The comment is the digest of all bytes before it, these last ones included. Every reader of
zip archives knows comments, so ``torch.load`` reads the file as any other. In a safetensors file
the digest is an entry of the metadata: of the header without it, and of the data.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import zipfile
from typing import IO, Any, BinaryIO

from mmattn.errors import CheckpointError, one_line

_MARK = b"mmattn sha256:"
_COMMENT_BYTES = len(_MARK) + 64
#: First bytes and length of the last record of a zip archive.
_END, _END_BYTES = b"PK\x05\x06", 22
#: Last record with the longest comment that there can be.
_LONGEST_END = _END_BYTES + (1 << 16) - 1
_CHUNK = 1 << 22
#: Name of the digest in the metadata of a safetensors file.
DIGEST = "digest"


def add_digest(buffer: io.BytesIO) -> None:
    """Append the digest to what ``torch.save`` wrote into ``buffer``.

    Raises:
        ValueError: The buffer does not end as torch's files do.
    """
    with buffer.getbuffer() as data:
        if bytes(data[-_END_BYTES:][:4]) != _END or data[-2:] != b"\0\0":
            raise ValueError("not a zip archive without a comment")
        data[-2:] = struct.pack("<H", _COMMENT_BYTES)
        digest = hashlib.sha256(data).hexdigest()
    buffer.seek(0, os.SEEK_END)
    buffer.write(_MARK + digest.encode())


class DigestWriter:
    """A file for ``torch.save`` that passes everything on, and at the end the digest.

    The last record, in which the length of the comment stands, is held back until the end. What
    comes out is what ``add_digest`` makes of the whole file in memory.

    Args:
        file: File that is written; for errors of the disk, see ``finish``.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self._held = b""
        self._error: BaseException | None = None

    def write(self, data: Any) -> int:
        """Write bytes, but for the last ones so far; returns how many they are."""
        view = memoryview(data).cast("B")
        try:
            if len(view) < _END_BYTES:
                joined = self._held + bytes(view)
                self._pass_on(joined[:-_END_BYTES])
                self._held = joined[-_END_BYTES:]
            else:
                self._pass_on(self._held)
                self._pass_on(view[:-_END_BYTES])
                self._held = bytes(view[-_END_BYTES:])
        except BaseException as error:
            # Not here: torch's writer would hide it behind an error about positions.
            self._error = self._error or error
        return len(view)

    def flush(self) -> None:
        """Do nothing: the last bytes are written by ``finish``."""

    def finish(self) -> None:
        """Write the last record and the digest.

        Raises:
            ValueError: What was written does not end as torch's files do.
            OSError: The disk takes no more; whatever was raised since the first byte comes here.
        """
        if self._error is not None:
            raise self._error
        if len(self._held) != _END_BYTES or not self._held.startswith(_END):
            raise ValueError("not a zip archive without a comment")
        self._pass_on(self._held[:-2] + struct.pack("<H", _COMMENT_BYTES))
        self._file.write(_MARK + self._digest.hexdigest().encode())

    def _pass_on(self, data: bytes | memoryview) -> None:
        if self._error is None:
            self._digest.update(data)
            self._file.write(data)


def check_digest(file: BinaryIO, name: str) -> bool:
    """Compare a torch file with the digest that it carries.

    A file without one is compared with the checksums that zip archives have for each entry.

    Args:
        file: Seekable file; its position is 0 afterwards.
        name: Name of the file, for messages.

    Returns:
        Whether it carries a digest.

    Raises:
        CheckpointError: The file is damaged.
    """
    try:
        return _check_digest(file, name)
    finally:
        file.seek(0)


def _check_digest(file: BinaryIO, name: str) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _COMMENT_BYTES - _END_BYTES))
    tail = file.read()
    end, comment = tail[:-_COMMENT_BYTES], tail[-_COMMENT_BYTES:]
    whole = (
        len(end) == _END_BYTES
        and end.startswith(_END)
        and struct.unpack("<H", end[-2:])[0] == _COMMENT_BYTES
        and re.fullmatch(re.escape(_MARK) + rb"[0-9a-f]{64}", comment) is not None
    )
    if whole:
        digest = _digest(file, size - _COMMENT_BYTES)
        if digest != comment[len(_MARK) :].decode():
            raise damaged(name, "its SHA-256 is not the one that it was written with")
        return True
    file.seek(0)
    archive = file.read(2) == b"PK"
    file.seek(max(0, size - _LONGEST_END))
    if _MARK in tail or (archive and _is_cut(file.read())):
        raise damaged(name, "its last bytes, which hold its SHA-256, have changed")
    bad = _what_is_bad(file)
    if bad:
        raise damaged(name, bad)
    return False


def _is_cut(tail: bytes) -> bool:
    """Return whether the last record of a zip archive promises another comment than there is."""
    start = tail.rfind(_END)
    if start < 0:
        return False
    record = tail[start : start + _END_BYTES]
    length = len(tail) - start - _END_BYTES
    # Of other lengths are other people's comments.
    promised = struct.unpack("<H", record[-2:])[0] if len(record) == _END_BYTES else None
    return promised != length or length == _COMMENT_BYTES


def _digest(file: BinaryIO, length: int) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while length > 0 and (chunk := file.read(min(_CHUNK, length))):
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest()


def _what_is_bad(file: BinaryIO) -> str:
    """Return what is wrong with a zip archive; "" for whole ones and for other formats.

    torch's reader looks at no checksum, and takes some archives that are damaged.
    """
    file.seek(0)
    if file.read(2) != b"PK":
        return ""
    try:
        with zipfile.ZipFile(file) as archive:
            if any(e.compress_type != zipfile.ZIP_STORED for e in archive.infolist()):
                return ""  # the reader refuses it; here it could be a bomb
            bad = archive.testzip()
    except Exception as error:  # zipfile raises nearly anything
        return f"its zip archive is damaged: {one_line(error)[:120]}"
    return f"its entry {bad} does not have the CRC-32 that it was written with" if bad else ""


def safetensors_with_digest(content: bytes) -> bytes:
    """Return the bytes of a safetensors file with the digest among its metadata."""
    header, data = _split(content)
    header.setdefault("__metadata__", {}).pop(DIGEST, None)
    header["__metadata__"][DIGEST] = _safetensors_digest(header, data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(data)


def check_safetensors_digest(content: bytes, name: str) -> bool:
    """Compare a safetensors file, whose header can be read, with the digest that it carries.

    Returns:
        Whether it carries one.

    Raises:
        CheckpointError: The file is damaged.
    """
    header, data = _split(content)
    found = header.get("__metadata__", {}).get(DIGEST)
    if found is None:
        return False
    if found != _safetensors_digest(header, data):
        raise damaged(name, "its SHA-256 is not the one that it was written with")
    return True


def _split(content: bytes) -> tuple[dict[str, Any], memoryview]:
    start = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:start]), memoryview(content)[start:]


def _safetensors_digest(header: dict[str, Any], data: memoryview) -> str:
    metadata = {k: v for k, v in header.get("__metadata__", {}).items() if k != DIGEST}
    text = json.dumps({**header, "__metadata__": metadata}, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    digest.update(data)
    return f"sha256:{digest.hexdigest()}"


def damaged(name: str, cause: str) -> CheckpointError:
    """Return the error about a file whose content is not what was written."""
    return CheckpointError(
        f"{name}: truncated, corrupt or not a checkpoint ({cause}); copy or download it again, or "
        "take another checkpoint."
    )
