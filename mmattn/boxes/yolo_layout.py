"""Find YOLO's images and label files below a folder, their splits and the names of the classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mmattn.data.confine import is_inside, refuse_outside
from mmattn.data.folder.class_list import CLASS_LISTS, read_class_list
from mmattn.data.folder.layout import IMAGE_FOLDERS
from mmattn.data.folder.listing import files_below
from mmattn.data.folder.patterns import SPLITS
from mmattn.errors import DataError
from mmattn.images import is_image_file
from mmattn.io.plain_data import parse_json, parse_yaml, read_text

from .image_places import split_of_folder
from .records import listed
from .sources import Source, lines_once
from .yolo import YoloClasses

LABEL_FOLDERS = ("labels", "label", "annotations", "labels_txt", "txt")
_YAML = (".yaml", ".yml")


def find_yolo(
    root: str,
    files: Sequence[str],
    *,
    ann_dir: str | None = None,
    img_dir: str | None = None,
    skip_missing: bool = False,
    classes_file: str | None = None,
    allow_outside: bool = False,
) -> tuple[dict[str, Source], YoloClasses, list[str]]:
    """Return the images of each split with their label files, empty where there are none.

    Args:
        root: Path of the folder.
        files: All files below it, relative to it.
        ann_dir: Folder of the label files in ``root``, if it is not found.
        img_dir: Folder of the images, likewise.
        skip_missing: Leave labels without an image out instead of refusing them.
        classes_file: Path of the list of classes, if it is not found.
        allow_outside: Whether what a ``data.yaml`` names may lie outside of ``root``.

    Raises:
        DataError: Several files could be meant, or they contradict each other.
    """
    described = [f for f in files if f.endswith(_YAML) and "/" not in f and _describes(root, f)]
    if len(described) > 1:
        raise DataError(
            f"{root}: {' and '.join(described)} each describe a dataset: set "
            f"data={os.path.join(root, described[0])} or the other"
        )
    if described:
        return read_description(
            os.path.join(root, described[0]), classes_file, allow_outside=allow_outside
        )
    texts = {file for file in files if file.lower().endswith(".txt")}
    spelled = {file.casefold(): file for file in texts}  # letter case does not matter
    if not texts:
        return {}, YoloClasses((), ""), []
    by_split: dict[str, list[tuple[str, str | None, str]]] = {}
    used: set[str] = set()
    labelled: dict[str, int] = {}
    for file in files:
        if not is_image_file(os.path.basename(file)):
            continue
        if img_dir and not file.startswith(f"{img_dir.strip('/')}/"):
            continue
        names = _label_names(file, ann_dir)
        found = (one if one in texts else spelled.get(one.casefold()) for one in names)
        label = next((one for one in found if one is not None), None)
        split = split_of_folder(file) or "all"
        if label is not None:
            if label in used:
                twins = [image for image, other, _ in by_split[split] if other == label]
                raise DataError(
                    f"{root}: {', '.join((*twins, file))} have the one label file {label}: rename "
                    "or remove one of the images"
                )
            used.add(label)
            labelled[split] = labelled.get(split, 0) + 1
        by_split.setdefault(split, []).append((file, label, _stem(file)))
    folders = {os.path.dirname(label) for label in used}
    lonely = [t for t in sorted(texts - used) if os.path.dirname(t) in folders]
    lonely = [
        t for t in lonely if os.path.basename(t).lower() not in CLASS_LISTS and _is_label(root, t)
    ]
    sniffed = any(_is_label(root, label) for label in sorted(used)[:20])
    if not sniffed:
        return {}, YoloClasses((), ""), []
    notes = []
    if lonely:
        if not skip_missing:
            raise DataError(
                f"{root}: {len(lonely)} label files belong to no image: {listed(lonely)}. Add the "
                "images, set data.img_dir, or leave them out with data.missing_images=skip"
            )
        notes.append(f"{len(lonely)} label files of no image are left out: {listed(lonely)}")
    sources = {}
    for split, pairs in by_split.items():
        if not labelled.get(split):
            if len(by_split) > 1 or split == "all":
                notes.append(f"not used: {len(pairs)} images without labels, {pairs[0][0]} first")
            continue
        places = sorted({os.path.dirname(label) or "." for _, label, _ in pairs if label})
        joined = [
            (os.path.join(root, image), label and os.path.join(root, label), stem)
            for image, label, stem in pairs
        ]
        sources[split] = Source(listed(places, 2), pairs=tuple(joined))
    if classes_file is not None:
        return sources, YoloClasses(read_names(classes_file), classes_file), notes
    classes, more = names_beside(root, files, sorted(folders))
    if not classes.names:
        near = {"", *folders, *map(os.path.dirname, folders)}
        lists = [t for t in sorted(texts - used) if os.path.dirname(t) in near]
        lists = [t for t in lists if not _is_label(root, t)]
        if lists:
            more.append(
                f"the classes have no names; if {listed(lists)} lists them, set "
                f"data.classes_file={lists[0]}"
            )
    return sources, classes, [*notes, *more]


def read_description(
    path: str, classes_file: str | None = None, *, allow_outside: bool = False
) -> tuple[dict[str, Source], YoloClasses, list[str]]:
    """Read a ``data.yaml``: names, and for each split a folder or a list of images.

    Args:
        path: Path of the file.
        classes_file: Path of a list of classes, whose names are taken instead.
        allow_outside: Whether what it names may lie outside of its folder.

    Raises:
        DataError: It is not valid, contradicts itself, or names what is not there.
    """
    content = _load_yaml(path)
    names = content.get("names") if classes_file is None else list(read_names(classes_file))
    if isinstance(names, Mapping):
        try:
            numbered = {int(key): str(value) for key, value in names.items()}
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: names has keys that are no numbers: {error}") from error
        if sorted(numbered) != list(range(len(numbered))):
            raise DataError(
                f"{path}: names has the numbers {sorted(numbered)[:10]}, where 0 to "
                f"{len(numbered) - 1} without a gap are expected"
            )
        names = [numbered[index] for index in range(len(numbered))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path} has no names: write names: [first class, second class]")
    names = tuple(str(name).strip() for name in names)
    _refuse_equal(names, path)
    count = content.get("nc")
    if count is not None and count != len(names):
        raise DataError(f"{path}: nc is {count}, but names has {len(names)} names: mend one")
    sources = {}
    for split, spellings in SPLITS.items():
        given = next((content[key] for key in spellings if content.get(key)), None)
        if given is None:
            continue
        entries = given if isinstance(given, list) else [given]
        images = [
            image
            for entry in entries
            for image in _images_of(path, content, str(entry), allow_outside)
        ]
        if not images:
            raise DataError(f"{path}: {split}: {given} holds no image")
        pairs = [(image, _label_beside(image), _stem(image)) for image in images]
        if not any(label for _, label, _ in pairs):
            raise DataError(
                f"{path}: {split}: none of {len(pairs)} images has a label file, such as "
                f"{_label_names(pairs[0][0], None)[0]} for {pairs[0][0]}"
            )
        sources[split] = Source(f"{os.path.basename(path)}, {given}", pairs=tuple(pairs))
    if not sources:
        raise DataError(f"{path} has no train and no val: write the folder of the images of each")
    return sources, YoloClasses(names, classes_file or path), []


def read_names(path: str) -> tuple[str, ...]:
    """Read a list of classes, in the order of their numbers.

    Args:
        path: Text of one name a line, a table (``mmattn.data.folder.class_list``), or JSON: a list
            of names, or names by number.

    Raises:
        DataError: It is empty, has a name twice, or its numbers have gaps.
    """
    names, values = _of_json(path) if path.lower().endswith(".json") else _of_list(path)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has the name {twice[0]!r} twice: give each class its own")
    if values is None:
        return tuple(names)
    if sorted(values) != list(range(len(values))):
        raise DataError(
            f"{path} has the numbers {sorted(values)[:10]}, where 0 to {len(values) - 1} without "
            "a gap are expected"
        )
    return tuple(name for _, name in sorted(zip(values, names, strict=True)))


def _of_list(path: str) -> tuple[Sequence[str], Sequence[int] | None]:
    listed = read_class_list(path)
    return listed.names, listed.values


def _of_json(path: str) -> tuple[Sequence[str], Sequence[int] | None]:
    content = parse_json(read_text(path), path)
    if isinstance(content, list) and content and all(isinstance(n, str) for n in content):
        return [name.strip() for name in content], None
    if isinstance(content, dict) and content:
        for pairs in (content.items(), ((key, name) for name, key in content.items())):
            pairs = list(pairs)
            if all(str(key).isdecimal() and isinstance(name, str) for key, name in pairs):
                return [name.strip() for _, name in pairs], [int(key) for key, _ in pairs]
    raise DataError(f'{path}: write ["first", "second"] or {{"0": "first", "1": "second"}}')


def _describes(root: str, file: str) -> bool:
    """Return whether a YAML file describes a dataset, not a training."""
    try:
        content = _load_yaml(os.path.join(root, file))
    except DataError:
        return os.path.splitext(file)[0] in ("data", "dataset")  # then its error is told
    return "names" in content and any(k in content for keys in SPLITS.values() for k in keys)


def _load_yaml(path: str) -> dict[str, Any]:
    content = parse_yaml(read_text(path), path)
    if not isinstance(content, dict):
        raise DataError(f"{path} holds {type(content).__name__}, not names and folders")
    return content


def _images_of(path: str, content: Mapping[str, Any], entry: str, allow_outside: bool) -> list[str]:
    """Return the paths of the images of an entry: a folder, or a list in a text file."""
    base = os.path.dirname(path)
    bases = [base]
    if content.get("path"):
        bases.insert(0, os.path.join(base, str(content["path"])))
    bare = entry
    while bare.startswith("../"):  # as some exports write it, from a folder that is not there
        bare = bare[3:]
    tried = dict.fromkeys(
        os.path.normpath(os.path.join(b, e)) for e in (entry, bare) for b in bases
    )
    there = [one for one in tried if os.path.exists(one)]
    place = next((one for one in there if is_inside(one, [base or "."])), None)
    if place is None and there:
        place = there[0]
        if not allow_outside:
            refuse_outside([place], [base or "."], f"{path}: {entry}", "places")
    if place is None:
        raise DataError(f"{path}: {entry}: there is none of {', '.join(tried)}. Mend the path")
    if os.path.isdir(place):
        return [os.path.join(place, file) for file in files_below(place)]
    if not place.endswith(".txt"):
        raise DataError(f"{path}: {entry} is neither a folder nor a .txt list of images")
    images = []
    for line in lines_once(place):
        options = [os.path.join(b, line) for b in (os.path.dirname(place), *bases)]
        found = next((os.path.normpath(one) for one in options if os.path.isfile(one)), None)
        if found is None:
            raise DataError(f"{place}: there is no image {line} below {', '.join(bases)}")
        images.append(found)
    return images


def _label_beside(image: str) -> str | None:
    return next((name for name in _label_names(image, None) if os.path.isfile(name)), None)


def _label_names(image: str, ann_dir: str | None) -> list[str]:
    """Return the names that an image's label file may have, the likeliest first.

    >>> _label_names("images/train/a.jpg", None)[0]
    'labels/train/a.txt'
    """
    path = PurePosixPath(image).with_suffix(".txt")
    parts = list(path.parts)
    found = []
    place = next(
        (i for i in range(len(parts) - 2, -1, -1) if parts[i].lower() in IMAGE_FOLDERS), None
    )
    if ann_dir is not None:
        inner = parts[place + 1 :] if place is not None else parts
        found += [str(PurePosixPath(ann_dir, *inner)), str(PurePosixPath(ann_dir, path.name))]
    if place is not None:
        found += [str(PurePosixPath(*parts[:place], n, *parts[place + 1 :])) for n in LABEL_FOLDERS]
    return [*found, str(path)] if ann_dir is None else found


def _stem(image: str) -> str:
    """Return a name below the folder of images, without ending."""
    parts = PurePosixPath(image).with_suffix("").parts
    places = [i for i, part in enumerate(parts[:-1]) if part.lower() in IMAGE_FOLDERS]
    return "/".join(parts[places[-1] + 1 :]) if places else parts[-1]


def _is_label(root: str, file: str) -> bool:
    """Return whether a text file is empty or begins with a line of YOLO's form."""
    with open(os.path.join(root, file), encoding="utf-8", errors="replace") as opened:
        words = opened.readline().split()
    try:
        return not words or len([float(word) for word in words]) >= 5
    except ValueError:
        return False


def names_beside(
    root: str, files: Sequence[str], folders: Sequence[str]
) -> tuple[YoloClasses, list[str]]:
    """Return the names of the nearest file of names, and notes on those that are none."""
    there, notes = {file.lower(): file for file in files}, []
    for name in CLASS_LISTS:
        for folder in ("", *folders, *(os.path.dirname(folder) for folder in folders)):
            file = there.get(os.path.join(folder, name).lower())
            if file is None:
                continue
            path = os.path.join(root, file)
            try:
                return YoloClasses(read_names(path), path), notes
            except DataError as error:
                if name.endswith(".csv"):  # of images and their labels, perhaps
                    notes.append(f"not read for the classes: {error}")
                    continue
                raise
    return YoloClasses((), ""), notes


def _refuse_equal(names: Sequence[str], path: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} gives the name {twice[0]!r} twice: give each class its own")
