"""The draw of a validation split where a folder has none, one rule for every task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from mmattn.errors import ConfigError


def draw(stems: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Draw the names for validation, by their hashes; never none, never all.

    >>> sorted(draw(["a", "b", "c", "d", "e"], 0.4, seed=0))
    ['d']
    """
    ranks = {
        stem: int.from_bytes(hashlib.sha256(f"{seed}:{stem}".encode()).digest()[:8]) / 2**64
        for stem in stems
    }
    order = sorted(ranks, key=ranks.__getitem__)
    chosen = sum(rank < fraction for rank in ranks.values())
    return set(order[: min(max(chosen, 1), len(order) - 1)])


def check_fraction(fraction: float) -> None:
    """Refuse a share of validation images that would leave one of the splits empty.

    Raises:
        ConfigError: It is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"val_fraction={fraction}: give a share between 0 and 1")
