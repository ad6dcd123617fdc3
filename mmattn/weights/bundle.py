"""Write a mirror for machines without network: a folder, or a tar file."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mmattn.errors import ConfigError
from mmattn.io.atomic import atomic_write

from .cache import cache_error
from .pull import Pulled

#: File of digests in a bundle, in the form of ``sha256sum --check``.
DIGESTS = "SHA256SUMS"
#: Endings of archives that are not written: weights do not get smaller.
_OTHER_ARCHIVES = (".bz2", ".gz", ".tgz", ".xz", ".zip", ".zst")


def write_bundle(
    weights: Sequence[Pulled], out: str | os.PathLike[str], say: Callable[[str], None]
) -> Path:
    """Write the sources of ``weights`` to ``out``, which ``MMATTN_WEIGHTS_MIRROR`` may name.

    It holds ``NAME/FILE`` for each, as it came, and ``SHA256SUMS``.

    Args:
        weights: Weights on this disk.
        out: A folder, or a file that ends in ``.tar``, which appears when it is complete.
        say: Called with a line about each file.

    Raises:
        ConfigError: ``out`` is another file.
        StorageError: It cannot be written.
    """
    path = Path(out)
    members = {f"{one.entry.name}/{one.source.name}": one for one in weights}
    digests = "".join(f"{one.sha256}  {member}\n" for member, one in sorted(members.items()))
    needed = sum(one.source.stat().st_size for one in members.values())
    try:
        if path.suffix == ".tar":
            _write_tar(path, members, digests)
        elif path.is_file() or path.suffix in _OTHER_ARCHIVES:
            raise ConfigError(f"--out {path}: give a folder, or a file that ends in .tar")
        else:
            _write_folder(path, members, digests)
    except ConfigError:
        raise
    except OSError as error:
        raise cache_error(error, path, needed) from error
    for member, one in members.items():
        say(f"{member}  {one.source.stat().st_size / 1e6:.1f} MB")
    return path


def _write_tar(path: Path, members: dict[str, Pulled], digests: str) -> None:
    with atomic_write(path) as file, tarfile.open(fileobj=file, mode="w:") as archive:
        text = digests.encode()
        head = tarfile.TarInfo(DIGESTS)
        head.size = len(text)
        archive.addfile(head, io.BytesIO(text))
        for member, one in members.items():
            info = tarfile.TarInfo(member)  # nothing of this machine: no owner, no time
            info.size = one.source.stat().st_size
            with open(one.source, "rb") as source:
                archive.addfile(info, source)


def _write_folder(path: Path, members: dict[str, Pulled], digests: str) -> None:
    for member, one in members.items():
        with open(one.source, "rb") as source, atomic_write(path / member) as file:
            shutil.copyfileobj(source, file, 1 << 20)
    # A folder may hold the files of an earlier bundle as well.
    known = path / DIGESTS
    before = known.read_text(encoding="utf-8") if known.is_file() else ""
    kept = [line for line in before.splitlines() if line.partition("  ")[2] not in members]
    lines = sorted([*kept, *digests.splitlines()], key=lambda line: line.partition("  ")[2])
    with atomic_write(known, "w") as file:
        file.write("".join(line + "\n" for line in lines))
