"""Check that a folder holds the dataset that it should: counts, pairs, sizes, values of masks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmattn.errors import DataError
from mmattn.images import evenly

from .card import CocoSplit, DatasetCard, Split
from .coco import check_coco
from .pixels import check_values, image_size, read_pixels

_SIZES, _MASKS = 64, 32  # files of a split that are read without --full-check
_SHOWN = 3


@dataclass
class LayoutReport:
    """Findings of the check of a prepared folder.

    Attributes:
        splits: Split -> counts: ``images``, ``labels`` and others.
        read: Number of images, and of masks, whose header or values were read.
    """

    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=lambda: {"images": 0, "masks": 0})

    def lines(self) -> list[str]:
        """Return a line for each split."""
        return [
            f"  {name}: " + ", ".join(f"{count} {what}" for what, count in counts.items())
            for name, counts in self.splits.items()
        ]


def check_layout(
    card: DatasetCard,
    root: Path,
    expected: Mapping[str, int] | None = None,
    *,
    full: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> LayoutReport:
    """Check the folder of a dataset.

    Args:
        card: The dataset that it should be.
        root: The folder.
        expected: Split -> number of images of a part; by default those of the whole dataset.
        full: Read every image's header and every mask; without, 64 and 32 of each split, spread
            evenly.
        say: Called with a line for what is missing and may be.

    Raises:
        DataError: The folder differs; the message names the split, the files and the fix.
    """
    report = LayoutReport()
    for split in card.splits:
        if isinstance(split, Split) and split.optional and not (root / split.images).is_dir():
            if split.labels:
                say(f"  {split.name}: not there; it may be missing")
            continue
        count = split.count if expected is None else expected.get(split.name, 0)
        if isinstance(split, CocoSplit):
            counts, read = check_coco(split, root, count, full=full)
            if split.name in report.splits:  # instances and panoptic maps of the same images
                counts = {**report.splits[split.name], **counts}
            report.splits[split.name] = counts
            report.read["images"] += read
        else:
            report.splits[split.name] = _check_split(card, split, root, count, full, report)
    return report


def _check_split(
    card: DatasetCard, split: Split, root: Path, count: int, full: bool, report: LayoutReport
) -> dict[str, int]:
    images = _stems(root / split.images, split.image_suffix)
    if split.listing:
        listed = _listed(root / split.listing)
        _refuse(split, "images are listed, but not there", sorted(listed - images), split.images)
        images = listed
    if len(images) != count:
        raise DataError(
            f"{root}: split {split.name} of {card.name} has {len(images)} images "
            f"({split.listing or split.images}), and {count} are expected. The archive was not the "
            "whole one, or files were lost or added: prepare it again, into an empty folder"
        )
    stems = sorted(images)
    counts = {"images": len(stems)}
    masks: set[str] = set()
    if split.labels:
        masks = _stems(root / split.labels, split.label_suffix)
        _refuse(split, "images have no mask", sorted(images - masks), split.labels)
        if not split.listing:
            _refuse(split, "masks have no image", sorted(masks - images), split.images)
        counts["labels"] = len(images & masks)
    for index in evenly(len(stems), None if full else _SIZES):
        _check_size(card, split, root, stems[index], with_mask=bool(split.labels))
        report.read["images"] += 1
    if split.labels and card.labels:
        for index in evenly(len(stems), None if full else _MASKS):
            mask = root / split.labels / f"{stems[index]}{split.label_suffix}"
            check_values(read_pixels(mask), card.labels, mask, card.name)
            report.read["masks"] += 1
    return counts


def _stems(folder: Path, suffix: str) -> set[str]:
    """Return the names in a folder and below it, without ``suffix``."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder. The split is missing from the archives, or this is the "
            "folder of another dataset: prepare it again, with all of its archives"
        )
    found = set()
    for place, _, files in os.walk(folder):
        below = Path(place).relative_to(folder).as_posix()
        start = "" if below == "." else f"{below}/"
        ends = suffix.lower()
        found |= {
            start + f[: -len(suffix)]
            for f in files
            if f.lower().endswith(ends) and not f.startswith(".")
        }
    return found


def _listed(path: Path) -> set[str]:
    try:
        return {line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()}
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): prepare the dataset again"
        ) from error


def _refuse(split: Split, what: str, names: list[str], where: str) -> None:
    if names:
        more = ", …" if len(names) > _SHOWN else ""
        raise DataError(
            f"split {split.name}: {len(names)} {what} in {where}: "
            f"{', '.join(names[:_SHOWN])}{more}. Prepare the dataset again, with whole archives"
        )


def _check_size(card: DatasetCard, split: Split, root: Path, stem: str, *, with_mask: bool) -> None:
    image = root / split.images / f"{stem}{split.image_suffix}"
    size = image_size(image)
    if card.image_size is not None and size != card.image_size:
        raise DataError(
            f"{image} is {size[0]} x {size[1]} (height x width); all images of {card.name} are "
            f"{card.image_size[0]} x {card.image_size[1]}. It is another edition of the dataset: "
            "get the files that mmattn data list and docs/datasets.md name"
        )
    if with_mask:
        mask = root / split.labels / f"{stem}{split.label_suffix}"
        found = image_size(mask)
        if found != size:
            raise DataError(
                f"{mask} is {found[0]} x {found[1]} (height x width), its image {image} is "
                f"{size[0]} x {size[1]}: masks and images are of different editions. Get both again"
            )
