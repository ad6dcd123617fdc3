"""Recognise how the boxes of a folder are stored.

Formats, each with or without splits (letter case of folders aside)::

    coco   *.json below the folder with images, annotations, categories: one for each split
    voc    *.xml of boxes, one for each image; ImageSets/Main/{train,val,test}.txt, or folders
    yolo   *.txt, one for each image, in labels/ or beside the images; data.yaml or classes.txt

A folder that holds several of them is refused with the setting that decides.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

from mmattn.data.archives import refuse_archive
from mmattn.data.files import check_place
from mmattn.data.folder.listing import files_below
from mmattn.errors import ConfigError, DataError, did_you_mean

from .coco_layout import AnnFile, find_coco, refuse_broken
from .sources import FORMS, BoxLayout, Source, named_splits
from .voc_layout import find_voc
from .yolo import YoloClasses
from .yolo_layout import find_yolo, names_beside, read_description, read_names

TARGETS = ("boxes", "masks", "panoptic")
LAYOUTS = ("auto", *FORMS)


def find_box_layout(
    root: str,
    *,
    layout: str = "auto",
    targets: str = "boxes",
    ann_file: AnnFile = None,
    ann_dir: str | None = None,
    img_dir: str | None = None,
    skip_missing: bool = False,
    classes_file: str | None = None,
    allow_outside: bool = False,
) -> BoxLayout:
    """Look into a folder, or at a file.

    Args:
        root: Path of the folder, of one COCO file, or of one ``data.yaml``.
        layout: ``auto``, or the format: ``coco``, ``voc``, ``yolo``.
        targets: What is to be learnt: ``boxes``, ``masks`` or ``panoptic``.
        ann_file: COCO's annotation file in ``root``, or one for each split.
        ann_dir: Folder of the annotations in ``root``, if it is not found.
        img_dir: Folder of the images in ``root``, likewise.
        skip_missing: Leave annotations of images that are not there out.
        classes_file: List of the classes in ``root``, if it is not found, or to set their order.
        allow_outside: Whether what a ``data.yaml`` names may lie outside of its folder.

    Raises:
        DataError: The place is missing, holds none of the formats, or several.
        ConfigError: A setting does not exist.
    """
    for option, value, known in (("layout", layout, LAYOUTS), ("targets", targets, TARGETS)):
        if value not in known:
            hint = did_you_mean(str(value), known)
            raise ConfigError(f"{option}={value!r}: give one of {', '.join(known)}.{hint}")
    if os.path.isfile(root):
        beside = classes_file and os.path.join(os.path.dirname(root), classes_file)
        return _of_file(root, beside, allow_outside)
    listed = classes_file and os.path.join(root, classes_file)
    check_place(root, "data_root", folder=True)
    files = files_below(root, all_endings=True)
    found: dict[str, Mapping[str, Source]] = {}
    notes: list[str] = []
    classes: YoloClasses | None = None
    if layout in ("auto", "coco"):
        found["coco"] = find_coco(root, files, targets, ann_file)
    if layout in ("auto", "voc") and not ann_file:
        found["voc"], more = find_voc(root, files, ann_dir)
        notes += more
    if layout in ("auto", "yolo") and not ann_file:
        found["yolo"], classes, more = find_yolo(
            root,
            files,
            ann_dir=ann_dir,
            img_dir=img_dir,
            skip_missing=skip_missing,
            classes_file=listed,
            allow_outside=allow_outside,
        )
        notes += more
    forms = [form for form, sources in found.items() if sources]
    if not forms:
        if layout in ("auto", "coco"):
            refuse_broken(root, files)
        raise DataError(_nothing(root, files, layout, targets))
    if len(forms) > 1:
        both = " and ".join(f"{FORMS[f]} ({_places(found[f])})" for f in forms)
        raise DataError(
            f"{root} holds {both}: set data.layout={forms[0]} or data.layout={forms[1]}"
        )
    (form,) = forms
    _refuse_wrong_form(root, form, targets)
    sources, more = named_splits(found[form])
    order = YoloClasses((), "")
    if form != "yolo" and listed:
        order = YoloClasses(read_names(listed), listed)
    elif form == "voc":
        order, none = names_beside(root, [file for file in files if "/" not in file], ())
        notes += none
    return BoxLayout(
        form,
        root,
        sources,
        classes=classes if form == "yolo" else None,
        names=order.names,
        notes=(*notes, *more),
        names_file=order.source,
    )


def _of_file(path: str, classes_file: str | None, allow_outside: bool) -> BoxLayout:
    """Return the layout of one file, with the images around it."""
    refuse_archive(path, "data_root")
    ending = os.path.splitext(path)[1].lower()
    folder = os.path.dirname(os.path.abspath(path))
    if ending in (".yaml", ".yml"):
        sources, classes, notes = read_description(path, classes_file, allow_outside=allow_outside)
        return BoxLayout("yolo", folder, sources, classes=classes, notes=tuple(notes))
    if ending == ".json":
        # COCO's images lie beside the folder of annotations.
        root = folder if files_below(folder, limit=1) else os.path.dirname(folder)
        if os.path.basename(folder).lower() in ("annotations", "annotation", "annots"):
            root = os.path.dirname(folder)
        names = read_names(classes_file) if classes_file else ()
        source = {"all": Source(path, (path,))}
        return BoxLayout("coco", root, source, names=names, names_file=classes_file or "")
    raise DataError(
        f"{path}: a file of boxes is COCO's .json or YOLO's data.yaml. Give the folder of the "
        "dataset for other formats"
    )


def _refuse_wrong_form(root: str, form: str, targets: str) -> None:
    if targets == "panoptic" and form != "coco":
        raise DataError(
            f"{root} holds {FORMS[form]}, which has boxes alone: panoptic segmentation needs "
            "COCO's panoptic form, a .json with segments_info and its maps"
        )
    if targets == "masks" and form == "voc":
        raise DataError(
            f"{root} holds {FORMS[form]}, which has boxes alone: instance segmentation needs "
            "masks, as COCO's polygons or run lengths. Take a detector of boxes, or export as COCO"
        )


def _places(sources: Mapping[str, Source]) -> str:
    return "; ".join(source.place for source in list(sources.values())[:2])


def _nothing(root: str, files: list[str], layout: str, targets: str) -> str:
    endings = Counter(os.path.splitext(file)[1].lower() or "none" for file in files)
    held = ", ".join(f"{ending} x {count}" for ending, count in endings.most_common(5)) or "nothing"
    wanted = f"no {FORMS[layout]}" if layout in FORMS else "no annotations that are known"
    broken = [f for f in files if f.lower().endswith(".json") and "instances" in f.lower()]
    if targets == "panoptic":
        return (
            f"{root} holds {wanted} of panoptic segmentation: a .json with segments_info in "
            f"COCO's form and its maps are needed; it holds {held}"
        )
    if broken:
        return (
            f"{os.path.join(root, broken[0])} is not COCO's format: it has not all of images, "
            "annotations and categories. Export or copy it again"
        )
    return (
        f"{root} holds {wanted}; it holds {held}. Known are COCO (a .json with images, annotations "
        "and categories), Pascal VOC (an .xml for each image) and YOLO (a .txt for each image, "
        "data.yaml or classes.txt). Where the annotations lie in a folder of another name, set "
        "data.ann_dir or data.ann_file"
    )
