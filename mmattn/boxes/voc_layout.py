"""Find Pascal VOC's annotation files below a folder, and the split that each is for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from mmattn.errors import DataError, did_you_mean

from .image_places import split_of_folder
from .records import listed
from .sources import Source, lines_once, refuse_twins

_LIST = re.compile(
    r"(?P<base>(?:.*/)?)imagesets/main/(?P<split>train|val|trainval|test)\.txt", re.IGNORECASE
)
_SNIFFED = 2048


def find_voc(
    root: str, files: Sequence[str], ann_dir: str | None = None
) -> tuple[dict[str, Source], list[str]]:
    """Return the annotation files of each split, empty where there is none, and notes.

    Lists in ``ImageSets/Main`` say what belongs to a split; without them, folders named after the
    splits do.

    Args:
        root: Path of the folder.
        files: All files below it, relative to it.
        ann_dir: Folder of the annotations in ``root``, if it is not found.

    Raises:
        DataError: Several folders could be meant, or a list names what is not there.
    """
    found = [file for file in files if file.lower().endswith(".xml")]
    if ann_dir is not None:
        if found and not any(file.startswith(f"{ann_dir.strip('/')}/") for file in found):
            folders = sorted({os.path.dirname(file) for file in found})
            raise DataError(
                f"data.ann_dir={ann_dir!r}: no .xml file of {root} lies there, but in "
                f"{', '.join(folders[:5])}.{did_you_mean(ann_dir, folders)}"
            )
        found = [file for file in found if file.startswith(f"{ann_dir.strip('/')}/")]
    found = _annotations_among(root, found)
    if not found:
        return {}, []
    lists = [match for file in files if (match := _LIST.fullmatch(file))]
    bases = sorted({match["base"] for match in lists})
    if len(bases) > 1:
        raise DataError(
            f"{root} holds several datasets of Pascal VOC, {' and '.join(bases)}: set "
            f"data={os.path.join(root, bases[0])} or the other"
        )
    if bases:
        inside = [file for file in found if file.startswith(bases[0])]
        return _by_lists(root, inside, [match[0] for match in lists])
    by_split: dict[str, list[str]] = {}
    for file in found:
        by_split.setdefault(split_of_folder(file) or "all", []).append(file)
    if "all" in by_split and len(by_split) > 1:
        loose = by_split["all"]
        raise DataError(
            f"{root}: {len(loose)} annotations such as {loose[0]} lie beside the folders of "
            f"{', '.join(sorted(set(by_split) - {'all'}))}: put each into one of them"
        )
    sources = {}
    for split, inside in by_split.items():
        refuse_twins(inside, root, "ann_dir")
        folders = sorted({os.path.dirname(file) or "." for file in inside})
        place = listed(folders, 2)
        sources[split] = Source(place, tuple(os.path.join(root, file) for file in inside))
    return sources, []


def _annotations_among(root: str, found: Sequence[str]) -> list[str]:
    """Leave out folders whose XML files are something else, told by the first of each."""
    kept: list[str] = []
    judged: dict[str, bool] = {}
    for file in found:
        folder = os.path.dirname(file)
        if folder not in judged:
            with open(os.path.join(root, file), "rb") as opened:
                judged[folder] = b"<annotation" in opened.read(_SNIFFED)
        if judged[folder]:
            kept.append(file)
    return kept


def _stem(line: str, known: Mapping[str, str]) -> str:
    """Return the image of a line; lists of one class have a second column, -1, 0 or 1."""
    name = line.strip()
    for text in (name, re.sub(r"\s+(-1|0|1)$", "", name)):  # a name may hold blanks
        for stem in (text, os.path.splitext(text)[0]):
            stem = stem.rpartition("/")[2]
            if stem in known:
                return stem
    return os.path.splitext(re.sub(r"\s+(-1|0|1)$", "", name))[0].rpartition("/")[2]


def _by_lists(
    root: str, found: Sequence[str], lists: Sequence[str]
) -> tuple[dict[str, Source], list[str]]:
    by_stem = refuse_twins(found, root, "ann_dir")
    sources: dict[str, Source] = {}
    used: set[str] = set()
    notes = []
    for name in lists:
        path = os.path.join(root, name)
        stems = [_stem(line, by_stem) for line in lines_once(path)]
        if not stems:
            notes.append(f"not used: {name}, which is empty")
            continue
        lost = [stem for stem in stems if stem not in by_stem]
        if lost:
            raise DataError(
                f"{path}: {len(lost)} of {len(stems)} images have no annotation: {listed(lost)}. "
                f"{os.path.dirname(found[0])} has no .xml of these names: add them, or remove the "
                "lines"
            )
        split = os.path.splitext(os.path.basename(name))[0].lower()
        used.update(stems)
        files = tuple(os.path.join(root, by_stem[stem]) for stem in stems)
        sources[split] = Source(f"{os.path.dirname(by_stem[stems[0]]) or '.'}, {name}", files)
    spare = sorted(set(by_stem) - used)
    if spare:
        notes.append(f"{len(spare)} annotations are in no list and are not used: {listed(spare)}")
    return sources, notes
