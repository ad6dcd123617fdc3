"""Pascal VOC's annotations: one XML file for each image.

The challenge's own files number pixels from 1, and the last pixel belongs to the box (development
kit, "Annotation": "the top-left pixel in the image has coordinates (1, 1)"). In coordinates whose
zero is the corner of the image such a box begins at ``xmin - 1`` and ends at ``xmax``. Most tools
that write the format today write those coordinates as they are, and nothing in a file says which
is meant: a box at 0 tells, but none at 0 does not, as some tools write 1 for it. So boxes are taken
as they stand unless ``voc_offset=1`` says otherwise.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from mmattn.errors import DataError

from .image_places import ImagePlaces, missing_images
from .image_sizes import size_of
from .records import BoxImage, BoxObject, BoxRecords, Place, ReadOptions, Tally
from .sieve import Sieve, duplicates

BOX_FORMAT = "[xmin, ymin, xmax, ymax]"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_TEXTS = {
    "no-size": "files without a usable <size>: read from the images",
    "difficult": "objects marked difficult: neither loss nor metric counts them",
    "missing-image": "files of images that are not there are left out",
}


def read_voc(
    files: Sequence[str], places: ImagePlaces, split: str, options: ReadOptions
) -> BoxRecords:
    """Read the files of one split.

    The image of a file is the one of its name, else the one that its ``filename`` says.

    Args:
        files: Paths of the XML files.
        places: Where the images may lie.
        split: The split that the files are for.
        options: What is refused and what is left out.

    Raises:
        DataError: A file or what it refers to is wrong; the message has file, item and fix.
    """
    tally, sieve = Tally(), Sieve(options, BOX_FORMAT)
    roots = [_parse(file) for file in files]
    stems = [os.path.splitext(os.path.basename(file))[0] for file in files]
    found = places.find(stems, split, stems=True)
    if None in found:
        stated = [(root.findtext("filename") or "").strip() for root in roots]
        named = [name or stem for name, stem in zip(stated, stems, strict=True)]
        by_name = places.find(named, split)
        found = [one or other for one, other in zip(found, by_name, strict=True)]
    lost = [file for file, place in zip(files, found, strict=True) if place is None]
    if lost and options.missing_images != "skip":
        folder = os.path.dirname(files[0])
        raise missing_images([os.path.basename(f) for f in lost], folder, places.top, len(files))
    names: set[str] = set()
    images = []
    for file, root, place, stem in zip(files, roots, found, stems, strict=True):
        if place is None:
            tally.add("missing-image", Place(file))
            continue
        size = _stated(root)
        if size is None:
            size = size_of(place)
            tally.add("no-size", Place(file))
        objects = []
        for index, entry in enumerate(root.iterfind("object"), 1):
            item = _object(entry, f"object {index}", file, sieve, options.voc_offset)
            if item is None:
                continue
            names.add(item.name)
            if item.crowd:
                tally.add("difficult", Place(file, item.item))
            if sieve.takes(item, size, file):
                objects.append(item)
        images.append(BoxImage(place, stem, len(images) + 1, size, file, tuple(objects)))
    notes = () if options.voc_offset else _numbering(images)
    found_odd = (*sieve.finish(), *tally.findings(_TEXTS), *duplicates(images))
    return BoxRecords(
        tuple(images),
        tuple(sorted(names)),
        BOX_FORMAT,
        notes=notes,
        findings=found_odd,
        left_out=tuple(sieve.left_out),
    )


def _parse(file: str) -> ET.Element:
    try:
        root = ET.parse(file).getroot()
    except ET.ParseError as error:
        raise DataError(
            f"{file} is not valid XML ({error}; {os.path.getsize(file)} bytes): it may have been "
            "cut off. Export or copy it again"
        ) from error
    except (OSError, UnicodeError) as error:
        raise DataError(f"{file} cannot be read: {error}. Export or copy it again") from error
    if root.tag != "annotation":
        raise DataError(
            f"{file} holds <{root.tag}>, where Pascal VOC has <annotation>: it is not an "
            "annotation of boxes. Move it out of the folder, or export the annotations as VOC"
        )
    return root


def _numbering(images: Sequence[BoxImage]) -> tuple[str, ...]:
    """Say how boxes are taken, unless one begins at 0, which only one numbering has."""
    boxes = [item.box for image in images for item in image.objects]
    if not boxes or min(min(box[:2]) for box in boxes) < 1:
        return ()
    return (
        "boxes are taken as they stand; no box begins before 1: if the files number pixels from 1, "
        "as those of the VOC challenge do, set data.voc_offset=1",
    )


def _object(entry: ET.Element, item: str, file: str, sieve: Sieve, offset: int) -> BoxObject | None:
    """Return the object of an element; None where it cannot be used."""
    name = (entry.findtext("name") or "").strip()
    if not name:
        sieve.refuse("no-name", file, item)
        return None
    bounds = entry.find("bndbox")
    try:
        x1, y1, x2, y2 = (float(bounds.findtext(key)) for key in _CORNERS)  # type: ignore
    except (AttributeError, TypeError, ValueError):
        sieve.refuse("not-numbers", file, f"{item}, {name}")
        return None
    difficult = (entry.findtext("difficult") or "").strip() == "1"
    if min(x1, y1) < offset:
        sieve.refuse("below-offset", file, f"{item}, {name}, at {min(x1, y1):g}")
        return None
    written, box = (x1, y1, x2, y2), (x1 - offset, y1 - offset, x2, y2)
    return BoxObject(name, box, written, f"{item}, {name}", crowd=difficult)


def _stated(root: ET.Element) -> tuple[int, int] | None:
    try:
        sides = [int(float(root.findtext(f"size/{key}") or 0)) for key in ("height", "width")]
    except (ValueError, OverflowError):  # not a number, or infinite
        return None
    return (sides[0], sides[1]) if min(sides) > 0 else None
