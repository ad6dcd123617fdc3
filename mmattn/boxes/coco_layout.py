"""Find COCO's annotation files below a folder, and the split that each is for."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence

from mmattn.data.folder.patterns import SPLITS
from mmattn.errors import ConfigError, DataError, did_you_mean
from mmattn.io.plain_data import parse_json, read_text

from .coco_content import other_form
from .image_places import split_in, split_of_folder
from .sources import Source

#: A folder of more JSON files than this has one for each image, as other tools write them.
_MOST = 60
#: Words of folders and names that hold COCO's annotations.
_ANNOTATIONS = frozenset({"annotation", "annotations", "annots", "coco", "instances", "panoptic"})
AnnFile = str | Mapping[str, str] | None


def find_coco(
    root: str, files: Sequence[str], targets: str, ann_file: AnnFile = None
) -> dict[str, Source]:
    """Return the annotation file of each split; empty where there is none.

    Args:
        root: Path of the folder.
        files: All files below it, relative to it.
        targets: ``boxes``, ``masks`` or ``panoptic``.
        ann_file: The file, relative to ``root``, or one for each split.

    Raises:
        DataError: Several files could be meant, they hold targets of another sort, or one that
            should be an annotation file is not JSON.
        ConfigError: ``ann_file`` names no file, or no split.
    """
    if ann_file is not None:
        given = _given(root, ann_file)
        for source in given.values():
            for path in source.files:
                _refuse_other_form(path, held_in(path), targets)
        return given
    found: dict[str, dict[str, list[str]]] = {"boxes": {}, "panoptic": {}}
    for file in _candidates(files):
        form = held_in(os.path.join(root, file))
        if form is None and _speaks_of_annotations(file):
            _refuse_no_json(os.path.join(root, file))  # and do not pass it over
        if form:
            split = split_in(os.path.basename(file)) or split_of_folder(file) or "all"
            found[form].setdefault(split, []).append(file)
    wanted = found["panoptic" if targets == "panoptic" else "boxes"]
    if not wanted and targets == "boxes":
        wanted = found["panoptic"]
    other = found["boxes" if targets == "panoptic" else "panoptic"]
    if not wanted and other:
        first = next(iter(other.values()))[0]
        form = "boxes" if targets == "panoptic" else "panoptic"
        _refuse_other_form(os.path.join(root, first), form, targets)
    return {
        split: Source(name, (os.path.join(root, name),))
        for split, names in wanted.items()
        for name in [_one_of(root, names, split, targets)]
    }


def held_in(path: str) -> str | None:
    """Return ``boxes`` or ``panoptic`` for a file that looks like COCO's; None for others.

    The text is searched, not parsed: a file that was cut off is found, and refused when it is read.
    """
    with open(path, "rb") as file:
        text = file.read()
    if not all(key in text for key in (b'"images"', b'"annotations"', b'"categories"')):
        return None
    return "panoptic" if b'"segments_info"' in text else "boxes"


def _refuse_other_form(path: str, form: str | None, targets: str) -> None:
    if form == "boxes" and targets == "panoptic":
        raise other_form(path, "panoptic")
    if form == "panoptic" and targets == "masks":
        raise other_form(path, "instances")


def _speaks_of_annotations(file: str) -> bool:
    """Return whether the place or name of a file says that it should hold annotations."""
    words = re.split(r"[^a-z]+", file.lower())
    return split_in(os.path.basename(file)) is not None or not _ANNOTATIONS.isdisjoint(words)


def refuse_broken(root: str, files: Sequence[str]) -> None:
    """Refuse files that end in .json and are none, for a folder where nothing else was found.

    Raises:
        DataError: One is not valid JSON, with its line and character.
    """
    for file in _candidates(files):
        _refuse_no_json(os.path.join(root, file))


def _refuse_no_json(path: str) -> None:
    status = os.stat(path)
    _parse_once(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _parse_once(path: str, *stamp: int) -> None:
    """Read a file as JSON once; captions of COCO, for example, take a second."""
    parse_json(read_text(path), path, unique_keys=False)


def _candidates(files: Sequence[str]) -> list[str]:
    found: dict[str, list[str]] = {}
    for file in files:
        if file.lower().endswith(".json"):
            found.setdefault(os.path.dirname(file), []).append(file)
    return [file for inside in found.values() if len(inside) <= _MOST for file in inside]


def _given(root: str, ann_file: str | Mapping[str, str]) -> dict[str, Source]:
    if isinstance(ann_file, Mapping):
        for split in ann_file:
            if split not in (*SPLITS, "all"):
                hint = did_you_mean(split, SPLITS)
                raise ConfigError(f"ann_file.{split}: give one of {', '.join(SPLITS)}.{hint}")
    else:
        ann_file = {"all": ann_file}
    for name in ann_file.values():
        path = os.path.join(root, name)
        if not os.path.isfile(path):
            beside = os.path.dirname(path)
            near = os.listdir(beside) if os.path.isdir(beside) else []
            hint = did_you_mean(os.path.basename(name), near)
            raise ConfigError(f"ann_file={name}: there is no file {path}.{hint}")
    return {split: Source(name, (os.path.join(root, name),)) for split, name in ann_file.items()}


def _one_of(root: str, names: Sequence[str], split: str, targets: str) -> str:
    if len(names) == 1:
        return names[0]
    word = "panoptic" if targets == "panoptic" else "instances"
    usual = [name for name in names if word in os.path.basename(name).lower()]
    if len(usual) == 1:
        return usual[0]
    key = "data.ann_file" if split == "all" else f"data.ann_file.{split}"
    raise DataError(
        f"{root}: {' and '.join(sorted(names))} could each be the annotations of "
        f"{'all images' if split == 'all' else split}. Set {key}={sorted(names)[0]} or another"
    )
