"""Boxes: what the files have, counted against what a dataset uses of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mmattn.errors import DataError, did_you_mean
from mmattn.preflight.slips import is_slip

from .stored import StoredObject

#: Share of boxes that may be wrong in one way before the data is refused instead of warned of.
_TOLERATED = 0.5
#: Share of boxes beyond their image from which boxes that would fit as corners are taken for such.
_CORNERS = 0.1
_SHOWN = 5


@dataclass
class _Geometry:
    """Counts over the boxes of one dataset, each with its first example."""

    boxes: int = 0
    unusable: int = 0
    shares: int = 0
    reversed: int = 0
    beyond: int = 0
    fit_as_corners: int = 0
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, item: StoredObject) -> None:
        if item.corners is None or item.stored is None:
            return
        self.boxes += 1
        x1, y1, x2, y2 = item.corners
        shown = f"{[round(float(v), 3) for v in item.stored]} of {item.source}"
        if item.size is not None:
            shown += f" ({item.size[1]:g} x {item.size[0]:g}, width x height)"
        if not all(map(math.isfinite, item.corners)):
            self._count("unusable", shown)
            return
        # Of 1 is allowed: a box from 0 to 1 is one pixel, but whole sets of them are shares.
        self.shares += all(0 <= v <= 1 for v in item.stored)
        if x2 < x1 or y2 < y1:
            self._count("reversed", shown)
        outside = False
        if item.size is not None:
            height, width = item.size
            outside = min(x2, width) - max(x1, 0) <= 0 or min(y2, height) - max(y1, 0) <= 0
            # Tools round and count from 0 or from 1.
            slack = max(2.0, 0.01 * max(height, width))
            if x2 > width + slack or y2 > height + slack or x1 < -slack or y1 < -slack:
                self._count("beyond", shown)
            a, b, c, d = item.stored
            self.fit_as_corners += a < c <= width + slack and b < d <= height + slack
        if x2 - x1 < 1 or y2 - y1 < 1 or outside or not item.usable:
            self._count("unusable", shown)

    def _count(self, what: str, shown: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        self.examples.setdefault(what, shown)


def check_objects(
    objects: Iterable[StoredObject],
    classes: Sequence[str],
    where: str,
    *,
    box_format: str = "[x1, y1, x2, y2]",
    known_names: Iterable[str] = (),
    told: bool = False,
) -> list[str]:
    """Compare the objects of annotation files with the config's classes and with their images.

    Args:
        objects: Every object that the files have.
        classes: Class names of the config; empty where the format names none.
        where: Config key of the dataset, used in messages.
        box_format: How the format writes a box, used in messages.
        known_names: Names that the file declares, whether or not an object has them.
        told: Whether the dataset itself tells of single boxes that it does not use or that reach
            beyond their image.

    Returns:
        Warnings, each a sentence.

    Raises:
        DataError: No object is of a class of the config, a class without an object is a slip of
            one that the files name, or boxes do not mean what the format says.
    """
    names: Counter[str] = Counter()
    geometry = _Geometry()
    total = 0
    for item in objects:
        total += 1
        if item.name is not None:
            names[item.name] += 1
        geometry.add(item)
    if not total:
        if where.startswith("train"):
            raise DataError(
                f"{where}: of the annotations no object is left, so there is nothing to learn. "
                f"Check ann_file, and that boxes are {box_format} in pixels"
            )
        return []
    warnings = _compare_names(names, classes, where, known_names) if names and classes else []
    return warnings + _judge(geometry, where, box_format, told)


def _compare_names(
    names: Counter[str], classes: Sequence[str], where: str, known_names: Iterable[str]
) -> list[str]:
    """Compare the names of objects with the classes of the config."""
    total, used = sum(names.values()), sum(names[name] for name in classes)
    others = Counter({name: count for name, count in names.items() if name not in classes})
    if not used:
        nearest = [hint for name in classes if (hint := nearest_name(name, others))]
        hint = nearest[0] if nearest else ""
        raise DataError(
            f"{where}: {none_used(names)}.{hint} Write the names as the annotations have them: "
            f"{as_metainfo([name for name, _ in others.most_common()])}"
        )
    known_names = set(known_names)
    without = [name for name in classes if not names[name]]
    candidates = {*others, *(name for name in known_names if name not in classes)}
    for name in without:
        slip = next((other for other in others if _is_slip(name, other)), None)
        if slip is not None and name not in known_names:
            raise DataError(
                f"{where}: no object is of the class {name!r}, and {sum(others.values())} of "
                f"{total} objects are of no class of metainfo.classes: {_listed(others)}. Did you "
                f"mean {slip!r}? Write the name as the annotations have it"
            )
    warnings = []
    if without:
        shown = ", ".join(map(repr, without[:_SHOWN])) + (", ..." if without[_SHOWN:] else "")
        count = "class has" if len(without) == 1 else "classes have"
        warnings.append(f"{len(without)} {count} no object: {shown}")
    if others:
        warnings.append(
            f"{sum(others.values())} of {total} objects are not used, because their names are no "
            f"classes of the config: {_listed(others)}"
        )
    elif candidates and without:
        shown = ", ".join(map(repr, sorted(candidates)[:_SHOWN]))
        warnings.append(f"the annotations also declare {shown}, which the config lacks")
    return warnings


def _judge(geometry: _Geometry, where: str, box_format: str, told: bool) -> list[str]:
    """Refuse boxes that do not mean what the format says, and warn of single ones."""
    count, examples = geometry.boxes, geometry.examples
    if not count:
        return []
    boxes = f"{count} boxes"
    if geometry.shares == count or (geometry.shares > 1 and geometry.shares > _TOLERATED * count):
        raise DataError(
            f"{where}: {count} annotations, {geometry.shares} of them not usable, such as "
            f"{examples.get('unusable', '')}: all their numbers are between 0 and 1, shares of "
            f"the image's size. Pixels are expected, {box_format}: multiply by width and height"
        )
    as_corners = "width" in box_format and geometry.fit_as_corners == count
    limit = _CORNERS if as_corners else _TOLERATED
    if geometry.beyond > limit * count:
        hint = "; they would fit as [x1, y1, x2, y2]" if as_corners else ""
        raise DataError(
            f"{where}: {geometry.beyond} of {boxes} reach beyond their image, such as "
            f"{examples['beyond']}; {box_format} in pixels is expected{hint}. Convert the boxes, "
            "or pair the annotations with their own images"
        )
    if geometry.reversed > 0.2 * count:
        raise DataError(
            f"{where}: {geometry.reversed} of {boxes} end before they begin, such as "
            f"{examples['reversed']}; {box_format} in pixels is expected. Are width and height "
            "stored in place of the second corner?"
        )
    if geometry.unusable > _TOLERATED * count:
        some = "none usable" if geometry.unusable == count else f"{geometry.unusable} not usable"
        raise DataError(
            f"{where}: {count} annotations, {some}, such as {examples['unusable']}: less than a "
            f"pixel wide or high, of no area, or outside of the image. {box_format} in pixels is "
            "expected"
        )
    warnings = []
    if as_corners and geometry.beyond:
        warnings.append(
            f"all {boxes} would fit as [x1, y1, x2, y2], and {geometry.beyond} reach beyond their "
            f"image as {box_format}, such as {examples['beyond']}: are corners stored?"
        )
    if told:
        return warnings
    if geometry.unusable:
        warnings.append(
            f"{geometry.unusable} of {boxes} are not usable (less than a pixel wide or high, of no "
            f"area, or outside of the image), such as {examples['unusable']}"
        )
    if geometry.beyond:
        warnings.append(
            f"{geometry.beyond} of {boxes} reach beyond their image, such as {examples['beyond']}"
        )
    return warnings


def none_used(names: Counter[str]) -> str:
    """Say that no object is of a class of the config, and what the annotations name."""
    total = sum(names.values())
    return (
        f"0 of {total} objects are of a class of metainfo.classes; the annotations name "
        f"{_listed(names) or 'none'}"
    )


def nearest_name(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean ...?"``; names that differ in case or blanks alone come first."""
    known = [str(other) for other in known]
    same = [other for other in known if _folded(other) == _folded(name) and other != name]
    return f" Did you mean {same[0]!r}?" if same else did_you_mean(name, known)


def _is_slip(name: str, other: str) -> bool:
    return _folded(name) == _folded(other) or is_slip(name, other)


def _folded(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter not in " _-")


def _listed(names: Counter[str]) -> str:
    shown = [f"{name} ({count})" for name, count in names.most_common(_SHOWN)]
    more = f" and {len(names) - _SHOWN} more names" if len(names) > _SHOWN else ""
    return ", ".join(shown) + more


def as_metainfo(names: Iterable[str]) -> str:
    """Return the line of a config that names these classes."""
    names = list(names)
    if len(names) > 20:
        return f"metainfo=dict(classes=({names[0]!r}, {names[1]!r}, ... {len(names)} names))"
    comma = "," if len(names) == 1 else ""
    return f"metainfo=dict(classes=({', '.join(map(repr, names))}{comma}))"
