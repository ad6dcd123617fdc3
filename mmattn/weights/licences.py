"""Licences that the user has to accept: asked once in a terminal, never where nobody answers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from mmattn.errors import LicenceError
from mmattn.io.atomic import atomic_write

from .cache import cache_error, cache_folder
from .entries import Entry

ACCEPTED = "accepted_licences.json"
#: Variables by which torchrun, srun and mpirun tell a process how many there are.
_PROCESSES = ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")


def require_licence(
    entry: Entry, *, accept: bool = False, ask: Callable[[str], bool] | None = None
) -> None:
    """Have the licence of an entry accepted, if it is one that needs that.

    An answer holds for all weights under the same licence of the same page, and is kept in the
    cache's folder.

    Args:
        entry: The entry.
        accept: The user has said so on the command line.
        ask: Asks the user a question that is answered by yes or no; None where nobody can.

    Raises:
        LicenceError: It was not accepted; the message has the licence, its page and the option.
    """
    if not entry.licence.asks or _key(entry) in _accepted():
        return
    if accept or (ask is not None and ask(question(entry))):
        _keep(entry)
        return
    raise LicenceError(
        f"{entry.name}: its weights are under {entry.licence}. Read that page; if you accept it, "
        f"run: mmattn weights pull {entry.name} --accept-licence"
    )


def question(entry: Entry) -> str:
    """Return what the user is asked."""
    return f"{entry.name}: the weights are under {entry.licence}.\nDo you accept that licence?"


def ask_in_terminal() -> Callable[[str], bool] | None:
    """Return a function that asks in the terminal; None where there is none at both ends.

    Nor where a launcher has started several processes: each of them would ask the same, and what is
    typed would reach one. The error that they end in says how to accept before.
    """
    if any(int(os.environ.get(name) or 1) > 1 for name in _PROCESSES):
        return None
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return None

    def ask(text: str) -> bool:
        sys.stderr.write(f"{text} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return ask


def _key(entry: Entry) -> str:
    return f"{entry.licence.name} | {entry.licence.url}"


def _accepted() -> dict[str, str]:
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or damaged: ask again
        return {}
    return content if isinstance(content, dict) else {}


def _keep(entry: Entry) -> None:
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = {**_accepted(), _key(entry): f"{date}, for {entry.name}"}
    try:
        with atomic_write(_file(), "w") as file:
            file.write(json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise cache_error(error, _file(), None) from error


def _file() -> Path:
    return cache_folder() / ACCEPTED
