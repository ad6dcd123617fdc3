"""The draw of a validation split where a folder has none, one rule for every task."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mmattn.errors import ConfigError, did_you_mean
from mmattn.given_words import of_dataset

#: What is drawn: whole sub-folders, so that no patient or video is on both sides, or images.
DRAW_BY = ("folder", "image")
#: A share that is farther from the one asked for is said to be so.
_FAR = 0.05


@dataclass(frozen=True)
class DrawOptions:
    """How images are drawn for validation.

    Attributes:
        fraction: Share of the images that become ``val``, 0 to 1.
        seed: Random seed of the draw.
        by: ``folder``: images of one sub-folder stay together where there are several; ``image``:
            each is drawn for itself.

    Raises:
        ConfigError: A value is out of range or not known.
    """

    fraction: float = 0.2
    seed: int = 0
    by: str = "folder"

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        if self.by not in DRAW_BY:
            hint = did_you_mean(str(self.by), DRAW_BY)
            raise ConfigError(f"draw_by={self.by!r}: give one of {', '.join(DRAW_BY)}.{hint}")


@dataclass(frozen=True)
class ValDraw:
    """Images drawn for validation, and how.

    Attributes:
        val: For each image, whether it is for validation.
        text: The draw in words: its settings, and what it was made among.
    """

    val: tuple[bool, ...]
    text: str


def draw_val(
    names: Sequence[str],
    files: Sequence[str],
    options: DrawOptions,
    classes: Collection[str] = (),
) -> ValDraw:
    """Draw images for validation.

    Where images lie in several sub-folders, these are drawn as wholes: neighbouring slices of a
    patient, or frames of a video, are nearly the same image, and a score on the one after training
    on the other tells nothing. A sub-folder is the first folder below the nearest one that all
    images share; images in no sub-folder are drawn one by one. Where the drawn sub-folders hold
    a share of the images that is far from the one asked for, as few of them easily do, others are
    taken that come nearer to it.

    The draw is by hashes of names: it is the same on every machine, and images or sub-folders that
    are added later move no other one unless the share needs it.

    Args:
        names: Names of the images, without endings.
        files: Their files, in the same order.
        options: Share, seed and what is drawn.
        classes: Names of the classes. Sub-folders that are named after them sort images, and a
            drawn one would leave its class without training: images are drawn then.
    """
    how = f"val_fraction {options.fraction:g}, split_seed {options.seed}"
    groups = _groups(names, files)
    folders = {group for group in groups if group.endswith("/")}
    if not folders or options.by == "image":
        chosen = draw(names, options.fraction, options.seed)
        return ValDraw(tuple(name in chosen for name in names), f"{how}, image by image")
    labels = {_folded(name) for name in classes}
    if len(folders) > 1 and {_folded(folder) for folder in folders} <= labels:
        chosen = draw(names, options.fraction, options.seed)
        text = f"{how}, image by image since the sub-folders are named after classes"
        return ValDraw(tuple(name in chosen for name in names), text)
    sizes = Counter(groups)
    chosen = _nearest(sizes, options)
    val = tuple(group in chosen for group in groups)
    share = sum(val) / len(val)
    far = abs(share - options.fraction) > _FAR
    text = (
        f"{how}, by sub-folder: {len(chosen & folders)} of {len(folders)} are val, with "
        f"{sum(val)} of {len(val)} images, {share:.0%}"
        + f", where whole sub-folders do not give {options.fraction:.0%}" * far
        + f"; {of_dataset('draw_by')}=image draws single ones"
    )
    return ValDraw(val, text)


def draw(stems: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Draw the names for validation, by their hashes; never none, never all.

    >>> sorted(draw(["a", "b", "c", "d", "e"], 0.4, seed=0))
    ['d']
    """
    ranks = _ranks(stems, seed)
    order = sorted(ranks, key=ranks.__getitem__)
    chosen = sum(rank < fraction for rank in ranks.values())
    return set(order[: min(max(chosen, 1), len(order) - 1)])


def _ranks(names: Iterable[str], seed: int) -> dict[str, float]:
    """Return a number from 0 to 1 for each name, by its hash."""
    return {
        name: int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") / 2**64
        for name in names
    }


def check_fraction(fraction: float) -> None:
    """Refuse a share of validation images that would leave one of the splits empty.

    Raises:
        ConfigError: It is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"val_fraction={fraction}: give a share between 0 and 1")


def _groups(names: Sequence[str], files: Sequence[str]) -> list[str]:
    """Return for each image its sub-folder, with a slash behind it, or its own name."""
    places = [os.path.dirname(os.path.abspath(file)) for file in files]
    top = os.path.commonpath(places) if places else ""
    below = [os.path.relpath(place, top).split(os.sep)[0] for place in places]
    return [
        name if folder == os.curdir else f"{folder}/"
        for name, folder in zip(names, below, strict=True)
    ]


def _nearest(sizes: Mapping[str, int], options: DrawOptions) -> set[str]:
    """Return groups that hold nearly the share asked for, in the order of their hashes."""
    total = sum(sizes.values())
    wanted = options.fraction * total

    def off(groups: Collection[str]) -> float:
        return abs(sum(sizes[group] for group in groups) - wanted)

    chosen = draw(sizes, options.fraction, options.seed)
    if off(chosen) <= _FAR * total:
        return chosen
    ranks = _ranks(sizes, options.seed)
    order = sorted(sizes, key=ranks.__getitem__)
    chosen = set()
    for group in order:
        if off({*chosen, group}) < off(chosen) and len(chosen) < len(sizes) - 1:
            chosen.add(group)
    for group in reversed(order):  # the last one may have gone too far
        if group in chosen and off(chosen - {group}) < off(chosen) and len(chosen) > 1:
            chosen.remove(group)
    # Where each is too large the smallest one is the nearest.
    return chosen or {min(sizes, key=lambda group: (sizes[group], group))}


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
