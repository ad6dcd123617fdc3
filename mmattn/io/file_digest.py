"""The digest of a file's content, read in pieces: files of weights are larger than memory."""

from __future__ import annotations

import hashlib
import os

_CHUNK = 1 << 20


def file_sha256(*paths: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of the content of files, one behind the other, in hexadecimal.

    Raises:
        OSError: A file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
