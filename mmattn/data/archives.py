"""Archives in the place of a dataset: refused, with the command that unpacks them safely.

Members of an archive may carry names that lead out of the folder, links, or zeros without end, and
training would read through it again and again. So nothing is unpacked here; ``mmattn data prepare``
unpacks the archives of public datasets.
"""

from __future__ import annotations

import os

from mmattn.errors import DataError
from mmattn.given_words import setting, word_of

_ENDINGS = {
    ".zip": "zip",
    **dict.fromkeys((".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"), "tar"),
    ".tar.zst": "zst",
    ".7z": "7z",
    ".rar": "rar",
    ".gz": "gz",
}
_BEGINNINGS = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "tar",
    b"BZh": "tar",
    b"\xfd7zXZ\x00": "tar",
    b"\x28\xb5\x2f\xfd": "zst",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
}
#: Commands that refuse members outside of the folder, or strip what leads there.
_COMMANDS = {
    "zip": "python -m zipfile -e {file} {folder}",
    "tar": "python -m tarfile --filter data -e {file} {folder}",
    "zst": "tar --zstd -xf {file} -C {folder}",
    "gz": "gunzip -k {file}",
    "7z": "7z x {file} -o{folder}",
    "rar": "unrar x {file} {folder}/",
}


def archive_kind(path: str) -> str | None:
    """Return the kind of an archive, by its first bytes or its ending; None for other files."""
    try:
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError:
        return None
    kind = next((kind for magic, kind in _BEGINNINGS.items() if start.startswith(magic)), None)
    if kind is None and start[257:262] == b"ustar":
        kind = "tar"
    if kind == "tar" and path.lower().endswith(".gz") and not path.lower().endswith(".tar.gz"):
        return "gz"
    if kind is not None:
        return kind
    name = path.lower()
    return next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), None)


def refuse_archive(path: str, where: str) -> None:
    """Refuse an archive that is given where a dataset is expected.

    Args:
        path: Path of a file.
        where: Config key that gives it, used in messages.

    Raises:
        DataError: It is an archive; the message has the command that unpacks it.
    """
    if not os.path.isfile(path):
        return
    kind = archive_kind(path)
    if kind is None:
        return
    folder = path
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        if path.lower().endswith(ending):
            folder = path[: -len(ending)]
            break
    command = _COMMANDS[kind].format(file=path, folder=folder if folder != path else f"{path}.d")
    raise DataError(
        f"{setting(word_of(where, path), repr(path))} is an archive, which is not read as data and "
        f"not unpacked here. Unpack it into a folder ({command}) and give that"
    )
