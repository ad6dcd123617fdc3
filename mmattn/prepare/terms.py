"""Terms of use: shown before anything is fetched, accepted once, and written down."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from mmattn.errors import ConfigError
from mmattn.io.byte_counts import bytes_in_words

from .card import DatasetCard
from .source_file import size_in_words


def tell(card: DatasetCard, say: Callable[[str], None]) -> None:
    """Say what a dataset is, what it costs on the disk, and its terms."""
    say(f"{card.title}: {card.task}, {card.classes} classes")
    for file in card.files:
        where = file.urls[0] if file.urls else f"{card.home} (account needed)"
        say(f"  {file.name}  {size_in_words(file)}  {where}")
    known = [file.size for file in card.files if file.size is not None]
    if known:
        more = "" if len(known) == len(card.files) else ", and files of unknown size"
        say(
            f"  on the disk: {bytes_in_words(sum(known))} of archives{more}, and about as much "
            "again for what they hold"
        )
    say(f"  terms: {card.terms}")
    say(f"  {card.terms_url}")
    for note in card.notes:
        say(f"  note: {note}")


def accept(card: DatasetCard, *, given: bool, ask: Callable[[str], str] | None) -> dict[str, Any]:
    """Have the terms accepted.

    Args:
        card: The dataset.
        given: Whether ``--accept-terms`` was given.
        ask: Asks a question and returns the answer; None where nobody can be asked.

    Returns:
        ``text``, ``url``, ``accepted`` and ``how``, for the record.

    Raises:
        ConfigError: They were not accepted.
    """
    if not given:
        if ask is None:
            raise ConfigError(
                f"the terms of {card.title} ({card.terms_url}) have to be accepted, and there is "
                "no terminal to ask in: read them, and add --accept-terms"
            )
        answer = ask(f"Do you accept the terms of {card.title}? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            raise ConfigError(f"the terms of {card.title} were not accepted; nothing was fetched")
    return {
        "name": card.name,
        "text": card.terms,
        "url": card.terms_url,
        "accepted": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "how": "--accept-terms" if given else "in a terminal",
    }


def terminal() -> Callable[[str], str] | None:
    """Return what asks in a terminal, None where there is none."""
    return input if sys.stdin is not None and sys.stdin.isatty() else None
