"""The catalog as a table, for ``mmattn data list`` and docs/datasets.md."""

from __future__ import annotations

from mmattn.io.byte_counts import bytes_in_words

from .card import CocoSplit, DatasetCard
from .catalog import CATALOG

HEAD = ("name", "dataset", "task", "images", "classes", "archives", "account")


def catalog_rows() -> list[tuple[str, ...]]:
    """Return a row of text for each dataset, in the order of ``HEAD``."""
    return [_row(card) for card in CATALOG.values()]


def _row(card: DatasetCard) -> tuple[str, ...]:
    counts = {split.name: split.count for split in card.splits}
    images = " / ".join(f"{count:,}" for name, count in counts.items() if not _is_extra(card, name))
    return (
        card.name,
        card.title,
        card.task,
        images,
        str(card.classes),
        archives_in_words(card),
        "needed" if card.account else "no",
    )


def _is_extra(card: DatasetCard, name: str) -> bool:
    """Return whether a split has no labels."""
    return all(
        not isinstance(split, CocoSplit) and not split.labels
        for split in card.splits
        if split.name == name
    )


def archives_in_words(card: DatasetCard) -> str:
    """Return the size of all archives: exact ones added, told ones as they are told."""
    known = sum(file.size for file in card.files if file.size is not None)
    told = [file.about for file in card.files if file.size is None and file.about]
    unknown = sum(file.size is None and not file.about for file in card.files)
    parts = [bytes_in_words(known)] if known else []
    parts += [f"about {text}" for text in told]
    if unknown:
        parts.append("not known" if not parts else f"{unknown} of unknown size")
    return " + ".join(parts)
