"""Download a file once; a failure says which address, which place, and what to do without."""

from __future__ import annotations

import os
import socket
from urllib.error import HTTPError
from urllib.parse import urlparse

from mmattn.errors import CheckpointError, one_line

#: Seconds without an answer after which an address counts as unreachable.
_PATIENCE = 30.0


def cached_path(url: str, folder: str | None = None, name: str | None = None) -> str:
    """Return where torch keeps (or would keep) the file of an address."""
    from torch import hub

    folder = folder or os.path.join(hub.get_dir(), "checkpoints")
    return os.path.join(folder, name or os.path.basename(urlparse(url).path))


def fetch(
    url: str,
    folder: str | None = None,
    name: str | None = None,
    *,
    progress: bool = True,
    check_hash: bool = False,
) -> str:
    """Return the local file of an address, downloaded if it is not there yet.

    Args:
        url: Address of the file.
        folder: Folder of the file; torch's cache by default.
        name: Name of the file; the last part of the address by default.
        progress: Show a bar.
        check_hash: Compare the content with the hash in the name.

    Raises:
        CheckpointError: It cannot be downloaded; the message has the address and the place.
    """
    from torch import hub

    target = cached_path(url, folder, name)
    if os.path.exists(target):
        return target
    found = hub.HASH_REGEX.search(os.path.basename(target)) if check_hash else None
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(patience or _PATIENCE)
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        hub.download_url_to_file(url, target, found and found.group(1), progress=progress)
    except (OSError, RuntimeError) as error:  # URLError and a wrong hash among them
        reason = f"HTTP {error.code}" if isinstance(error, HTTPError) else one_line(error)
        raise CheckpointError(
            f"{url} cannot be downloaded ({reason}). Without network, download it elsewhere and "
            f"put it at {target}"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
    return target
