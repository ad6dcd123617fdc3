"""A folder of boxes as a whole: its splits, its classes, and what was found out about both."""

from __future__ import annotations

import difflib
import functools
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mmattn.data.confine import outside_allowed, refuse_outside
from mmattn.data.folder.draw import DrawOptions, ValDraw, draw_val
from mmattn.errors import ConfigError, DataError, did_you_mean

from .coco import read_coco
from .coco_layout import AnnFile
from .image_places import ImagePlaces
from .layout import find_box_layout
from .records import BoxImage, BoxRecords, Finding, Place, ReadOptions, listed
from .sources import FORMS, BoxLayout, Source
from .voc import read_voc
from .yolo import read_yolo

#: A name of few objects is taken for a slip of one that so many times as many objects have, if
#: so large a part of both is the same.
_MANY_TIMES, _ALIKE = 50, 0.8


@dataclass(frozen=True)
class BoxClasses:
    """The classes of a folder.

    Attributes:
        names: Class names; the position is the label.
        things: Those that are counted, which come first; None outside of panoptic data.
        source: Where they are stated, used in messages.
    """

    names: tuple[str, ...]
    things: tuple[str, ...] | None
    source: str

    def select(self, chosen: Iterable[str]) -> BoxClasses:
        """Return the classes called ``chosen``, in that order; objects of others are not used.

        Raises:
            ConfigError: A name that is none of the data's, or one twice; or stuff before things.
        """
        chosen = tuple(chosen)
        for name in chosen:
            if name not in self.names:
                same = [n for n in self.names if _folded(n) == _folded(name)]
                hint = f" Did you mean {same[0]!r}?" if same else did_you_mean(name, self.names)
                raise ConfigError(
                    f"metainfo.classes: {name!r} is no class of {self.source}, which has "
                    f"{', '.join(self.names)}.{hint}"
                )
        if not chosen or len(set(chosen)) < len(chosen):
            raise ConfigError(f"metainfo.classes={chosen}: name classes, each of them once")
        if self.things is None:
            return replace(self, names=chosen)
        things = tuple(name for name in chosen if name in self.things)
        if chosen[: len(things)] != things:
            raise ConfigError(
                f"metainfo.classes={chosen}: name the things ({', '.join(things)}) before the "
                "stuff, as panoptic heads number them"
            )
        return replace(self, names=chosen, things=things)


class BoxFolder:
    """A folder of boxes of any format: its splits and its classes.

    Args:
        root: Path of the folder, of one COCO file, or of one ``data.yaml``.
        layout: ``auto``, or the format: ``coco``, ``voc``, ``yolo``.
        targets: What is to be learnt: ``boxes``, ``masks`` or ``panoptic``.
        ann_file: COCO's annotation file in ``root``, or one for each split.
        ann_dir: Folder of the annotations in ``root``, if it is not found.
        img_dir: Folder of the images in ``root``, likewise.
        map_dir: Folder of the panoptic maps in ``root``, likewise.
        val_fraction: Share of the images that becomes ``val`` where there is none.
        split_seed: Random seed of that draw.
        draw_by: ``folder`` or ``image``, what is drawn; see ``DrawOptions``.
        classes_file: List of the classes in ``root``, if it is not found, or to set their order.
        voc_offset: The number of the first pixel in VOC's files, 0 or 1; see ``voc.py``.
        missing_images: ``error`` for annotations of images that are not there, or ``skip``.
        bad_objects: ``error`` for objects that cannot be meant so, or ``skip``.
        allow_outside: Whether annotations may name files outside of ``root``; ``data/confine.py``.

    Raises:
        DataError: What the folder holds does not say what it means; the message says what to do.
        ConfigError: Options that do not exist or do not fit.
    """

    def __init__(
        self,
        root: str,
        *,
        layout: str = "auto",
        targets: str = "boxes",
        ann_file: AnnFile = None,
        ann_dir: str | None = None,
        img_dir: str | None = None,
        map_dir: str | None = None,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        draw_by: str = "folder",
        classes_file: str | None = None,
        voc_offset: int = 0,
        missing_images: str = "error",
        bad_objects: str = "error",
        allow_outside: bool = False,
    ) -> None:
        self._options_of_draw = DrawOptions(val_fraction, split_seed, draw_by)
        self.root = root
        self.layout: BoxLayout = find_box_layout(
            root,
            layout=layout,
            targets=targets,
            ann_file=ann_file,
            ann_dir=ann_dir,
            img_dir=img_dir,
            skip_missing=missing_images == "skip",
            classes_file=classes_file,
            allow_outside=allow_outside,
        )
        if voc_offset not in (0, 1):
            raise ConfigError(f"voc_offset={voc_offset!r}: give 0 or 1")
        if voc_offset and self.layout.form != "voc":
            raise ConfigError(
                f"voc_offset={voc_offset}, but {root} holds {FORMS[self.layout.form]}, whose boxes "
                "begin at 0: leave it out"
            )
        self._options = ReadOptions(
            missing_images,
            bad_objects,
            masks=targets == "masks",
            voc_offset=voc_offset,
            allow_outside=allow_outside,
        )
        self._img_dir, self._map_dir = img_dir, map_dir

    def records(self, split: str) -> BoxRecords:
        """Return the images of a split.

        Args:
            split: ``train``, ``val``, ``test``, or ``all`` for everything there is.

        Raises:
            DataError: There is no such split, or what it holds is wrong.
        """
        layout = self.layout
        if split == "all":
            return _joined([self._read(name) for name in layout.sources])
        if split in layout.sources and not (split == "train" and layout.drawn == "train"):
            return self._read(split)
        if layout.drawn is None or split not in ("train", "val"):
            known = dict.fromkeys([*layout.sources, *(("train", "val") if layout.drawn else ())])
            raise DataError(
                f"{self.root} has no split {split!r} with annotations, but "
                f"{', '.join(known)}, all. Set split= to one of them, or add the annotations"
            )
        pool = self._read(layout.drawn)
        if len(pool.images) < 2:
            raise DataError(
                f"{self.root}: one image cannot be split into train and val. Add images"
            )
        val = self._draw(pool).val
        drawn = zip(pool.images, val, strict=True)
        return _of_images(
            pool, tuple(image for image, is_val in drawn if is_val == (split == "val"))
        )

    def _draw(self, pool: BoxRecords) -> ValDraw:
        names = [image.name for image in pool.images]
        files = [image.path for image in pool.images]
        return draw_val(names, files, self._options_of_draw, pool.names)

    def classes(self) -> BoxClasses:
        """Return the classes of all splits: those of training first, in the order of its file.

        Raises:
            DataError: There is no class, or what a split holds is wrong.
        """
        layout = self.layout
        order = sorted(
            layout.sources, key=lambda split: ("train", "all", "val", "test").index(split)
        )
        read = [self._read(split) for split in order]
        names = list(dict.fromkeys(name for records in read for name in records.names))
        if layout.form == "voc":  # VOC names classes nowhere but in its objects
            names.sort()
        if layout.names:
            unknown = [name for name in names if name not in layout.names]
            if unknown:
                raise DataError(
                    f"{self.root}: objects are called {', '.join(map(repr, unknown[:5]))}, which "
                    f"the file of names does not have: {', '.join(layout.names)}."
                    f"{did_you_mean(unknown[0], layout.names)}"
                )
            names = list(layout.names)
        if not names:
            raise DataError(f"{self.root}: no annotation has an object, so there are no classes")
        stated = layout.classes.source if layout.classes else layout.names_file
        source = stated or layout.sources[order[0]].place
        if read[0].things is None:
            return BoxClasses(tuple(names), None, source)
        counted = frozenset().union(*(records.things or () for records in read))
        things = tuple(name for name in names if name in counted)
        stuff = tuple(name for name in names if name not in counted)
        return BoxClasses((*things, *stuff), things, source)

    def describe(self, split: str, records: BoxRecords) -> str:
        """Return one line on a split: images, boxes, format and where they lie."""
        layout = self.layout
        source = layout.sources.get(split)
        place = source.place if source else ""
        if split == "all":
            place = "; ".join(source.place for source in layout.sources.values())
        if layout.drawn and split in ("train", "val"):
            how = self._draw(self._read(layout.drawn)).text
            place = f"{layout.sources[layout.drawn].place}, drawn by {how}"
        folders = sorted({os.path.dirname(image.path) for image in records.images})
        shown = [os.path.relpath(folder, layout.root) for folder in folders]
        boxes = sum(len(image.objects) for image in records.images)
        return (
            f"{split}: {len(records.images)} images in {listed(shown, 2)}, {boxes} objects; "
            f"{FORMS[layout.form]} ({place})"
        )

    def _read(self, name: str) -> BoxRecords:
        source = self.layout.sources[name]
        stamp = tuple(map(_state, source.read_files()))
        place = (self.layout.form, self.layout.root, self._img_dir, self._map_dir)
        options = replace(
            self._options, allow_outside=self._options.allow_outside or outside_allowed()
        )
        return _read(name, source, place, self.layout.classes, options, stamp)


@functools.lru_cache(maxsize=8)
def _read(name: str, source: Source, place: tuple, classes, options, stamp: tuple) -> BoxRecords:
    """Read a split; training, validation and the checks before them ask for the same ones."""
    form, root, img_dir, map_dir = place
    # An annotation file of COCO was found, or named by the user, and is read as JSON alone.
    if not options.allow_outside and form != "coco":
        refuse_outside(source.read_files(), [root], source.place)
    if form == "yolo":
        return read_yolo(source.pairs, classes, options)
    places = ImagePlaces(root, img_dir, allow_outside=options.allow_outside)
    if form == "voc":
        return read_voc(source.files, places, name, options)
    return read_coco(source.files[0], places, name, options, map_dir)


def forget_records() -> None:
    """Let go of everything that was read, which is needed no more once datasets are built.

    The entries of a dataset lie in one block of bytes, but its records are objects: of 118 k images
    with 860 k boxes 1.3 GiB, which each process that loads images would come to copy.
    """
    _read.cache_clear()


def _joined(parts: list[BoxRecords]) -> BoxRecords:
    """Return all splits as one; images get new ids where ids are used twice."""
    images = [image for part in parts for image in part.images]
    if len({image.image_id for image in images}) < len(images):
        images = [replace(image, image_id=index) for index, image in enumerate(images, 1)]
    things = [part.things for part in parts if part.things is not None]
    return BoxRecords(
        tuple(images),
        tuple(dict.fromkeys(name for part in parts for name in part.names)),
        parts[0].box_format,
        things=frozenset().union(*things) if things else None,
        notes=tuple(note for part in parts for note in part.notes),
        findings=tuple(finding for part in parts for finding in part.findings),
        left_out=tuple(item for part in parts for item in part.left_out),
    )


def _of_images(pool: BoxRecords, images: tuple[BoxImage, ...]) -> BoxRecords:
    """Return the records of some images, with the findings of their files alone."""
    files = {image.source for image in images} | {image.path for image in images}
    if len({image.source for image in pool.images}) == 1:  # one file for all of them
        return replace(pool, images=images)
    findings = []
    for finding in pool.findings:
        places = tuple(place for place in finding.places if place.file in files)
        if places:
            findings.append(Finding(finding.check, finding.text, places))
    left_out = tuple(item for item in pool.left_out if item.source in files)
    return replace(pool, images=images, findings=tuple(findings), left_out=left_out)


def class_findings(records: BoxRecords, classes: BoxClasses) -> tuple[Finding, ...]:
    """Return what is odd about the classes of a split: unused names, twins, objects left out."""
    objects = Counter(item.name for image in records.images for item in image.objects)
    findings = []
    empty = [name for name in classes.names if not objects[name]]
    if empty:
        count = "1 class has" if len(empty) == 1 else f"{len(empty)} classes have"
        findings.append(
            Finding(
                "class-without-object", f"{count} no object here: {listed(map(repr, empty), 5)}"
            )
        )
    others = {name: count for name, count in objects.items() if name not in classes.names}
    if others:
        total = sum(others.values())
        shown = listed([f"{name} ({count})" for name, count in others.items()], 5)
        findings.append(
            Finding(
                "class-not-chosen", f"{total} objects are of no class of metainfo.classes: {shown}"
            )
        )
    findings += _slips(records, objects)
    seen: dict[str, str] = {}
    for name in classes.names:
        other = seen.setdefault(_folded(name), name)
        if other != name:
            places = tuple(
                Place(image.source, item.item)
                for image in records.images
                for item in image.objects
                if item.name == name
            )
            findings.append(
                Finding(
                    "similar-names",
                    f"{other!r} and {name!r} differ in letter case or blanks only and are two "
                    "classes",
                    places,
                )
            )
    return tuple(findings)


def _slips(records: BoxRecords, objects: Mapping[str, int]) -> list[Finding]:
    """Return names of a few objects that look like a slip of the name of very many."""
    findings = []
    for name, count in objects.items():
        near = [
            other
            for other, many in objects.items()
            if many >= _MANY_TIMES * count
            and _folded(other) != _folded(name)  # told as similar names
            and difflib.SequenceMatcher(None, _folded(name), _folded(other)).ratio() >= _ALIKE
        ]
        if near:
            many = max(near, key=objects.__getitem__)
            places = tuple(
                Place(image.source, item.item)
                for image in records.images
                for item in image.objects
                if item.name == name
            )
            noun = "object is" if count == 1 else "objects are"
            findings.append(
                Finding(
                    "misspelt-class",
                    f"{count} {noun} called {name!r} and {objects[many]} {many!r}: are these one "
                    "class?",
                    places,
                )
            )
    return findings


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " _-")


def _state(path: str) -> tuple[int, int]:
    """Return a stamp that changes when the file does; zeros where it is missing."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # whoever reads it says so
        return 0, 0
    return status.st_mtime_ns, status.st_size
