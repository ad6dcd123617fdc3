"""Wrong COCO files as generators, each with the verdict that it has to get.

A verdict is what the reader of a folder (``data=DIR``) and the check of a plain ``CocoDataset``
say: ``refused`` with words of the error, ``told`` with the short name of a finding (folder) or
words of a warning (plain), or ``read`` for what is no fault at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: File of the training split that ``box_folders.write_coco`` writes.
TRAIN = "annotations/instances_train2017.json"
Content = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What is said of a file.

    Attributes:
        kind: ``refused``, ``told`` or ``read``.
        words: Regular expression of the error or warning, or the name of a finding.
    """

    kind: str
    words: str = ""


def refused(words: str) -> Verdict:
    """Return the verdict of a file that is not used."""
    return Verdict("refused", words)


def told(words: str) -> Verdict:
    """Return the verdict of a file that is used, and something is said."""
    return Verdict("told", words)


READ = Verdict("read")


@dataclass(frozen=True)
class Fault:
    """One wrong file.

    Attributes:
        edit: Changes the content; the text itself where it returns bytes.
        folder: What ``data=DIR`` says.
        plain: What is said of mmdet's ``CocoDataset``; as ``folder`` where it is None.
        masks: ``polygons`` or ``rle`` where the objects have masks, which are then wanted.
    """

    edit: Callable[[Content], Any]
    folder: Verdict
    plain: Verdict | None = None
    masks: str = ""

    def write(self, file: Path) -> None:
        """Put the fault into an annotation file."""
        content = json.loads(file.read_text())
        result = self.edit(content)
        if isinstance(result, bytes):
            file.write_bytes(result)
        else:
            file.write_text(json.dumps(content))


def of(index: int, **changes: Any) -> Callable[[Content], Any]:
    """Return an edit of one annotation; ``None`` removes nothing, ``DROP`` removes a key."""
    return lambda content: _change(content["annotations"][index], changes)


def of_all(**changes: Any) -> Callable[[Content], Any]:
    """Return an edit of every annotation."""
    return lambda content: [_change(entry, changes) for entry in content["annotations"]]


def image(index: int, **changes: Any) -> Callable[[Content], Any]:
    """Return an edit of one image."""
    return lambda content: _change(content["images"][index], changes)


def category(index: int, **changes: Any) -> Callable[[Content], Any]:
    """Return an edit of one category."""
    return lambda content: _change(content["categories"][index], changes)


class DROP:
    """Stands for a key that is taken out."""


def _change(entry: Content, changes: Content) -> None:
    for key, value in changes.items():
        if value is DROP:
            entry.pop(key, None)
        else:
            entry[key] = value


def boxes(change: Callable[[list[float]], Any]) -> Callable[[Content], Any]:
    """Return an edit of every box."""

    def edit(content: Content) -> None:
        for entry in content["annotations"]:
            entry["bbox"] = change(entry["bbox"])

    return edit


def every(key: str, name: str, change: Callable[[Any], Any]) -> Callable[[Content], Any]:
    """Return an edit of one field in every entry of a list."""

    def edit(content: Content) -> None:
        for entry in content[key]:
            entry[name] = change(entry[name])

    return edit


def text(change: Callable[[str], bytes]) -> Callable[[Content], Any]:
    """Return an edit of the text of the file."""
    return lambda content: change(json.dumps(content))


def shares(content: Content) -> None:
    """Store boxes as shares of the image of 64 x 96."""
    for entry in content["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["bbox"] = [x / 96, y / 64, w / 96, h / 64]


def swapped(content: Content) -> None:
    """Swap height and width of every image."""
    for entry in content["images"]:
        entry["height"], entry["width"] = entry["width"], entry["height"]


def merged(*edits: Callable[[Content], Any]) -> Callable[[Content], Any]:
    """Return several edits as one."""

    def edit(content: Content) -> None:
        for one in edits:
            one(content)

    return edit


def rle(**changes: Any) -> Callable[[Content], Any]:
    """Return an edit of the run lengths of the first object."""
    return lambda content: _change(content["annotations"][0]["segmentation"], changes)


NAN, INF = float("nan"), float("inf")
#: Whole numbers of any length are valid JSON, and no float holds them.
HUGE = 10**400
FOUR = refused("not (the )?four numbers")
#: A folder is searched for files that look like COCO's: what does not is not taken for one.
NOT_FOUND = refused(r"instances_train2017\.json|no split 'train'")
FAULTS: dict[str, Fault] = {
    # --- boxes
    "NaN in a box": Fault(of(2, bbox=[1, 2, NAN, 4]), FOUR),
    "infinite box": Fault(of(2, bbox=[1, 2, INF, 4]), FOUR),
    "infinite corner": Fault(of(2, bbox=[-INF, 2, 5, 4]), FOUR),
    "1e300": Fault(of(2, bbox=[1, 2, 1e300, 4]), FOUR),
    "a number of 400 digits": Fault(of(2, bbox=[1, 2, HUGE, 4]), FOUR),
    "numbers as texts": Fault(of(2, bbox=["1", "2", "30", "4"]), FOUR),
    "all numbers as texts": Fault(boxes(lambda b: [str(v) for v in b]), FOUR),
    "box null": Fault(of(2, bbox=None), FOUR, refused("have no box")),
    "no box and no mask": Fault(of(2, bbox=DROP), FOUR, refused("have no box")),
    "three numbers": Fault(of(2, bbox=[1, 2, 30]), FOUR),
    "five numbers": Fault(of(2, bbox=[1, 2, 30, 4, 5]), FOUR),
    "box as an object": Fault(of(2, bbox={"x": 1, "y": 2, "w": 3, "h": 4}), FOUR),
    "box of a list": Fault(of(2, bbox=[[1, 2, 30, 4]]), FOUR),
    "true in a box": Fault(of(2, bbox=[1, 2, True, 4]), FOUR),
    "box of texts": Fault(of(2, bbox="1 2 30 4"), FOUR),
    "no width": Fault(of(2, bbox=[5, 5, 0, 9]), told("no-area"), told("not usable")),
    "no height": Fault(of(2, bbox=[5, 5, 9, 0]), told("no-area"), told("not usable")),
    "below a pixel": Fault(of(2, bbox=[5, 5, 0.5, 9]), told("below-a-pixel"), told("not usable")),
    "negative width": Fault(
        of(2, bbox=[30, 5, -9, 9]), refused("boxes end before they begin"), told("not usable")
    ),
    "negative sides": Fault(
        of(2, bbox=[30, 30, -9, -9]), refused("boxes end before they begin"), told("not usable")
    ),
    "right of the image": Fault(of(2, bbox=[200, 5, 9, 9]), told("outside"), told("not usable")),
    "above the image": Fault(of(2, bbox=[5, -30, 9, 9]), told("outside"), told("not usable")),
    "beyond the image": Fault(
        of(2, bbox=[80, 40, 60, 9]), told("beyond-image"), told("reach beyond their image")
    ),
    "all corners": Fault(
        boxes(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]),
        refused(r"they would fit as \[x1, y1, x2, y2\]"),
    ),
    "all centres": Fault(
        boxes(lambda b: [b[0] + b[2] / 2, b[1] + b[3] / 2, b[2], b[3]]),
        told("beyond-image"),
        told("reach beyond their image"),
    ),
    "shares of 1": Fault(shares, refused("shares of the image's size")),
    "all of no area": Fault(boxes(lambda b: [b[0], b[1], 0, 0]), refused("none usable")),
    "all outside": Fault(
        boxes(lambda b: [b[0] + 500, b[1], b[2], b[3]]),
        refused("10 of 10 boxes reach beyond their image"),
    ),
    "of larger images": Fault(
        boxes(lambda b: [v * 4 for v in b]), refused("10 of 10 boxes reach beyond their image")
    ),
    "a box twice": Fault(
        lambda c: c["annotations"].append({**c["annotations"][0], "id": 99}),
        told("duplicate-box"),
        told("1 boxes stand twice"),
    ),
    # --- sizes of images
    "sizes swapped": Fault(swapped, refused("reach beyond their image")),
    "one size swapped": Fault(
        image(1, height=96, width=64), refused("height and width are swapped")
    ),
    "other sizes": Fault(
        every("images", "height", lambda h: 2 * h), refused("its annotation says 128 x 96")
    ),
    "one other size": Fault(
        image(1, height=640, width=960), refused("its annotation says 640 x 960")
    ),
    "no height stated": Fault(
        image(1, height=DROP), told("no-size"), refused("1 of 4 images state no size")
    ),
    "width zero": Fault(image(1, width=0), told("no-size"), refused("1 of 4 images state no size")),
    "height as text": Fault(
        image(1, height="64"), told("no-size"), refused("1 of 4 images state no size")
    ),
    "height of 400 digits": Fault(
        image(1, height=HUGE), told("no-size"), refused("1 of 4 images state no size")
    ),
    "width NaN": Fault(
        image(1, width=NAN), told("no-size"), refused("1 of 4 images state no size")
    ),
    # --- ids
    "image id twice": Fault(image(1, id=10), refused("gives the id 10 to")),
    "annotation id twice": Fault(
        of(3, id=1), told("annotation-id"), refused("1 annotation ids are used twice")
    ),
    "category id twice": Fault(category(1, id=9), refused("gives the id 9 to")),
    "ids of images as texts": Fault(
        every("images", "id", str), refused("10 is no id of an image while '10' is")
    ),
    "image_id as text": Fault(
        every("annotations", "image_id", str), refused("'10' is no id of an image while 10 is")
    ),
    "one image_id as text": Fault(
        of(2, image_id="11"), refused("'11' is no id of an image while 11 is")
    ),
    "category_id as text": Fault(
        every("annotations", "category_id", str), refused("'4' is no id of a category while 4 is")
    ),
    "all ids of images as texts": Fault(
        merged(every("images", "id", str), every("annotations", "image_id", str)), READ
    ),
    "unknown image": Fault(
        of(2, image_id=77), refused("1 of 10 annotations have a image_id .* 77 in the annotation 3")
    ),
    "all images unknown": Fault(
        of_all(image_id=77), refused("10 of 10 annotations have a image_id")
    ),
    "unknown category": Fault(
        of(2, category_id=77),
        refused("1 of 10 annotations have a category_id .* 77 in the annotation 3"),
    ),
    "all categories unknown": Fault(
        every("annotations", "category_id", lambda v: v + 100),
        refused("10 of 10 annotations have a category_id"),
    ),
    "image id null": Fault(image(1, id=None), refused(r"the id of images\[1\] is None")),
    "no image id": Fault(image(1, id=DROP), refused(r"an entry without \'id\' \(images\[1\]\)")),
    "image id true": Fault(image(1, id=True), refused(r"the id of images\[1\] is True")),
    "image id 1.5": Fault(image(1, id=1.5), refused("image_id that is the id of none")),
    "image id a list": Fault(image(1, id=[11]), refused(r"the id of images\[1\] is \[11\]")),
    "no annotation id": Fault(of(2, id=DROP), READ, refused("1 of 10 annotations have no id")),
    "annotation id 0": Fault(of(2, id=0), READ, told("an annotation has the id 0")),
    "no image_id": Fault(
        of(2, image_id=DROP), refused(r"annotations(\[2\] \(id 3\) has| have) no image_id")
    ),
    "no category_id": Fault(
        of(2, category_id=DROP), refused("annotations? (3 has|have) no category_id")
    ),
    "category_id null": Fault(of(2, category_id=None), refused("such as None in the annotation 3")),
    "no category id": Fault(
        category(1, id=DROP), refused(r"an entry without \'id\' \(categories\[1\]\)")
    ),
    # --- crowds and areas
    "all crowd": Fault(of_all(iscrowd=1), refused("all 10 annotations are crowds")),
    "no iscrowd": Fault(of_all(iscrowd=DROP), READ),
    "iscrowd as text": Fault(
        of_all(iscrowd="0"), refused("10 of 10 annotations have an iscrowd that is neither")
    ),
    "iscrowd 7": Fault(
        of(2, iscrowd=7), refused("1 of 10 annotations have an iscrowd .* 7 of the annotation 3")
    ),
    "no area": Fault(
        of_all(area=DROP), told("area-computed"), refused("10 of 10 annotations have no area")
    ),
    "area 0": Fault(of(2, area=0), told("area-computed"), told("not usable")),
    "all areas 0": Fault(of_all(area=0), told("area-computed"), refused("none usable")),
    "area NaN": Fault(
        of(2, area=NAN), told("area-computed"), refused("1 of 10 annotations have no area")
    ),
    "area of 400 digits": Fault(
        of(2, area=HUGE), told("area-computed"), refused("1 of 10 annotations have no area")
    ),
    "area above the box": Fault(
        of(2, area=5000), told("area-above-box"), told("an area that is larger than their box")
    ),
    "area as text": Fault(
        of(2, area="100"), told("area-computed"), refused("1 of 10 annotations have no area")
    ),
    "area negative": Fault(of(2, area=-5), told("area-computed"), told("not usable")),
    # --- names
    "name a number": Fault(
        category(1, name=3), refused(r"the name of categories\[1\] \(id 4\).* is 3, not a text")
    ),
    "name null": Fault(
        category(1, name=None),
        refused(r"the name of categories\[1\] \(id 4\).* is None, not a text"),
    ),
    "name a list": Fault(
        category(1, name=["cell"]), refused(r"the name of categories\[1\] \(id 4\).* not a text")
    ),
    "no name": Fault(
        category(1, name=DROP),
        refused(r"the name of categories\[1\] \(id 4\).* is None, not a text"),
    ),
    "name empty": Fault(
        category(1, name=""), refused(r"the name of categories\[1\] \(id 4\).* is empty")
    ),
    "name blank": Fault(
        category(1, name="  "), refused(r"the name of categories\[1\] \(id 4\).* is empty")
    ),
    "a name twice": Fault(
        category(1, name="dot"),
        refused("the one name 'dot'"),
        refused("'cell' is no category of the file"),
    ),
    "names of one spelling": Fault(
        category(1, name="Dot"), told("similar-names"), refused("'cell' is no category of the file")
    ),
    # --- images
    "no file_name": Fault(
        image(1, file_name=DROP),
        refused("the image 11 has the file_name None|1 of 4 images have no name of a file"),
    ),
    "file_name a number": Fault(
        image(1, file_name=7), refused("the image 11 has the file_name 7|such as 7 of the image 11")
    ),
    "file_name empty": Fault(
        image(1, file_name=""),
        refused("the image 11 has the file_name|1 of 4 images have no name of a file"),
    ),
    "image twice": Fault(
        lambda c: c["images"].append({**c["images"][0], "id": 99}),
        refused(r"lists the image 000\.png twice"),
        told("1 images are listed twice"),
    ),
    "image not there": Fault(
        image(1, file_name="gone.png"),
        refused(r"1 of 4 images (that it names are not|do not exist)[\s\S]*gone\.png"),
    ),
    "another case": Fault(
        image(1, file_name="001.PNG"),
        refused(r"1 of 4 images (that it names are not|do not exist)[\s\S]*001\.PNG"),
    ),
    # --- lists
    "no images": Fault(lambda c: c.update(images=[]), refused("id of none of its 0 images")),
    "no annotations": Fault(
        lambda c: c.update(annotations=[]),
        refused("no object is left, so there is nothing to learn"),
    ),
    "no categories": Fault(
        lambda c: c.update(categories=[]), refused("id of none of its 0 categories")
    ),
    "images an object": Fault(lambda c: c.update(images={"a": 1}), refused("is not COCO's format")),
    "annotations null": Fault(
        lambda c: c.update(annotations=None), refused("is not COCO's format")
    ),
    "no list of categories": Fault(
        lambda c: c.pop("categories") and None, NOT_FOUND, refused("is not COCO's format")
    ),
    "an annotation a number": Fault(
        lambda c: c["annotations"].append(3), refused(r"annotations\[10\] is 3, not an object")
    ),
    "an image a text": Fault(
        lambda c: c["images"].append("a.png"), refused(r"images\[4\] is \'a\.png\', not an object")
    ),
    "a category null": Fault(
        lambda c: c["categories"].append(None), refused(r"categories\[3\] is None, not an object")
    ),
    # --- masks
    "polygon of two points": Fault(
        of(1, segmentation=[[1, 2, 3, 4]]),
        refused("1 of 10 masks are neither"),
        told("1 objects have no polygon of three points"),
        masks="polygons",
    ),
    "odd polygon": Fault(
        of(1, segmentation=[[1, 2, 3, 4, 5, 6, 7]]),
        refused("1 of 10 masks are neither"),
        told("1 objects have no polygon of three points"),
        masks="polygons",
    ),
    "NaN in a polygon": Fault(
        of(1, segmentation=[[1, NAN, 3, 4, 5, 6]]),
        refused("1 of 10 masks are neither"),
        told("1 objects have no polygon of three points"),
        masks="polygons",
    ),
    "400 digits in a polygon": Fault(
        of(1, segmentation=[[1, HUGE, 3, 4, 5, 6]]),
        refused("1 of 10 masks are neither"),
        told("1 objects have no polygon of three points"),
        masks="polygons",
    ),
    "flat polygon": Fault(
        of(1, segmentation=[1, 2, 3, 4, 5, 6]),
        refused("1 of 10 masks are neither"),
        told("1 objects have no polygon of three points"),
        masks="polygons",
    ),
    "mask a text": Fault(
        of(1, segmentation="x"),
        refused("1 of 10 masks are neither"),
        refused("'x' is no mask"),
        masks="polygons",
    ),
    "mask empty": Fault(
        of(1, segmentation=[]),
        refused("1 of 10 objects have no mask"),
        refused("has no segmentation"),
        masks="polygons",
    ),
    "no mask": Fault(
        of(1, segmentation=DROP),
        refused("1 of 10 objects have no mask"),
        refused("has no segmentation"),
        masks="polygons",
    ),
    "texts in a polygon": Fault(
        of(1, segmentation=[["1", "2", "3", "4", "5", "6"]]),
        refused("1 of 10 masks are neither"),
        told("1 objects have no polygon of three points"),
        masks="polygons",
    ),
    "polygon outside": Fault(
        of(1, segmentation=[[500, 500, 600, 500, 600, 600]]),
        told("mask-outside"),
        told("polygons outside of their image"),
        masks="polygons",
    ),
    "polygon beside its box": Fault(
        of(1, segmentation=[[1, 50, 9, 50, 9, 60]]),
        told("mask-beside-box"),
        told("polygons beside their box"),
        masks="polygons",
    ),
    "run lengths of another size": Fault(
        rle(size=[96, 64]),
        refused("1 of 10 masks are neither"),
        refused(r"it is 96 x 64, its image 64 x 96"),
        masks="rle",
    ),
    "run lengths too short": Fault(
        rle(counts=[5, 5]),
        refused("1 of 10 masks are neither"),
        refused(r"add up to 10 pixels, the image has 6144"),
        masks="rle",
    ),
    "run lengths too long": Fault(
        rle(counts=[0, 99999]),
        refused("1 of 10 masks are neither"),
        refused(r"add up to 99999 pixels"),
        masks="rle",
    ),
    "run lengths of 400 digits": Fault(
        rle(counts=[HUGE]),
        refused("1 of 10 masks are neither"),
        refused(r"neither text nor whole numbers"),
        masks="rle",
    ),
    "run lengths negative": Fault(
        rle(counts=[-5, 6149]),
        refused("1 of 10 masks are neither"),
        refused(r"counts are negative"),
        masks="rle",
    ),
    "run lengths garbled": Fault(
        rle(counts="~~~ no run lengths ~~~"),
        refused("1 of 10 masks are neither"),
        refused(r"not packed run lengths"),
        masks="rle",
    ),
    "run lengths cut off": Fault(
        lambda c: _change(
            c["annotations"][0]["segmentation"],
            {"counts": c["annotations"][0]["segmentation"]["counts"][:-2]},
        ),
        refused("1 of 10 masks are neither"),
        refused(r"not packed run lengths, or are cut off|add up to"),
        masks="rle",
    ),
    "run lengths empty": Fault(
        rle(counts=""),
        refused("1 of 10 masks are neither"),
        refused(r"not packed run lengths"),
        masks="rle",
    ),
    "run lengths of texts": Fault(
        rle(counts=["5", "6139"]),
        refused("1 of 10 masks are neither"),
        refused(r"neither text nor whole numbers"),
        masks="rle",
    ),
    "run lengths without size": Fault(
        rle(size=DROP), refused("1 of 10 masks are neither"), refused(r"size is None"), masks="rle"
    ),
    # --- texts
    "BOM": Fault(text(lambda t: b"\xef\xbb\xbf" + t.encode()), READ),
    "UTF-16": Fault(
        text(lambda t: t.encode("utf-16")), NOT_FOUND, refused("is not a text in UTF-8")
    ),
    "cut off": Fault(text(lambda t: t[:-40].encode()), refused("is not valid JSON")),
    "empty": Fault(text(lambda t: b""), NOT_FOUND, refused("is not valid JSON")),
    "zeros": Fault(text(lambda t: bytes(len(t))), NOT_FOUND, refused("is not valid JSON")),
    "more behind it": Fault(text(lambda t: (t + t).encode()), refused("is not valid JSON")),
    "single quotes": Fault(
        text(lambda t: t.replace('"', "'").encode()), NOT_FOUND, refused("is not valid JSON")
    ),
    "comments": Fault(text(lambda t: b"// exported\n" + t.encode()), refused("is not valid JSON")),
    "a list": Fault(text(lambda t: b"[" + t.encode() + b"]"), refused("is not COCO's format")),
    "results": Fault(
        text(lambda t: b'[{"image_id": 10, "category_id": 4, "bbox": [1, 2, 3, 4], "score": 1}]'),
        NOT_FOUND,
        refused("is a file of results"),
    ),
    "a key twice": Fault(
        text(lambda t: (t[:-1] + ', "annotations": []}').encode()),
        refused("has the key 'annotations' twice"),
    ),
    "nested": Fault(
        text(lambda t: b'{"images": ' + b"[" * 100000), NOT_FOUND, refused("nested too deeply")
    ),
}
