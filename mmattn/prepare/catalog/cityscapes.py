"""Cityscapes, fine annotations: masks of the 19 classes that are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mmattn.errors import DataError
from mmattn.io.plain_data import parse_json
from mmattn.prepare.card import DatasetCard, Split
from mmattn.prepare.masks import png, renumbered
from mmattn.prepare.pixels import read_pixels
from mmattn.prepare.source_file import SourceFile
from mmattn.prepare.stage import Stage

_IMAGES = SourceFile(
    "leftImg8bit_trainvaltest.zip",
    about="11 GB",
    digests=("md5:0a6e97e94b616a514066c9e2adb0c97f",),
    holds=("leftImg8bit/train/*/*_leftImg8bit.png", "leftImg8bit/val/*/*_leftImg8bit.png"),
)
_MASKS = SourceFile(
    "gtFine_trainvaltest.zip",
    about="241 MB",
    digests=("md5:4237c19de34c8a376e9ba46b495d6f66",),
    holds=("gtFine/train/*/*_gtFine_*", "gtFine/val/*/*_gtFine_*"),
)
_SPLITS = {"train": 2975, "val": 500, "test": 1525}
_IGNORED = 255
#: Name of a label in the polygons -> its number in the masks, and in the training.
_LABELS: dict[str, tuple[int, int]] = {
    name: (number, training)
    for training, (number, name) in enumerate(
        [
            *((7, "road"), (8, "sidewalk"), (11, "building"), (12, "wall"), (13, "fence")),
            *((17, "pole"), (19, "traffic light"), (20, "traffic sign"), (21, "vegetation")),
            *((22, "terrain"), (23, "sky"), (24, "person"), (25, "rider"), (26, "car")),
            *((27, "truck"), (28, "bus"), (31, "train"), (32, "motorcycle"), (33, "bicycle")),
        ]
    )
}
_TRAINING = dict(_LABELS.values())
#: Labels that are drawn, but not trained on. A licence plate is not drawn: it is a part of a car.
_DRAWN_ALSO = frozenset(
    {
        *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic"),
        *("ground", "parking", "rail track", "guard rail", "bridge", "tunnel", "polegroup"),
        *("caravan", "trailer"),
    }
)


def _arrange(stage: Stage) -> None:
    masks = stage.source(_MASKS.name).sizes()
    for split in _SPLITS:
        names = stage.names(_IMAGES.name, f"leftImg8bit/{split}/", "_leftImg8bit.png")
        if stage.subset:
            names = stage.subset.choose(names)
        stage.put(_IMAGES.name, {name: name for name in names})
        numbers, polygons, others = {}, {}, {}
        for name in names:
            start = name.replace("leftImg8bit/", "gtFine/", 1).replace(
                "_leftImg8bit.png", "_gtFine"
            )
            target = f"{start}_labelTrainIds.png"
            if f"{start}_labelIds.png" in masks:
                numbers[f"{start}_labelIds.png"] = target
            else:
                polygons[f"{start}_polygons.json"] = target
            for end in ("labelIds.png", "instanceIds.png", "polygons.json"):
                if f"{start}_{end}" in masks:
                    others[f"{start}_{end}"] = f"{start}_{end}"
        stage.put(_MASKS.name, others)
        stage.put(_MASKS.name, numbers, _from_numbers)
        if polygons:
            stage.say(f"  {split}: {len(polygons)} masks are drawn from their polygons")
            stage.put(_MASKS.name, polygons, from_polygons)


def _from_numbers(name: str, content: bytes) -> bytes:
    return png(renumbered(read_pixels(content, name), _TRAINING, _IGNORED))


def from_polygons(name: str, content: bytes) -> bytes:
    """Draw a mask of training labels as Cityscapes' own scripts do: later polygons lie on top.

    Raises:
        DataError: The file has no polygons, or a label that Cityscapes has not.
    """
    record: Any = parse_json(content.decode("utf-8", "replace"), name)
    try:
        image = Image.new("L", (record["imgWidth"], record["imgHeight"]), _IGNORED)
        draw = ImageDraw.Draw(image)
        for item in record["objects"]:
            if item.get("deleted"):
                continue
            value = _value(item["label"], name)
            if value is not None:
                draw.polygon([tuple(point) for point in item["polygon"]], fill=value)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{name} is no file of Cityscapes' polygons ({type(error).__name__}: {error}): get "
            f"{_MASKS.name} again"
        ) from error
    return png(np.asarray(image))


def _value(label: str, name: str) -> int | None:
    """Return what a polygon is filled with; None for one that is not drawn."""
    if label not in _LABELS and label not in _DRAWN_ALSO:
        label = label.removesuffix("group")  # several persons that could not be told apart
    if label in _LABELS:
        return _LABELS[label][1]
    if label in _DRAWN_ALSO:
        return _IGNORED
    if label == "license plate":
        return None
    raise DataError(f"{name}: Cityscapes has no label {label!r}: get {_MASKS.name} again")


CITYSCAPES = DatasetCard(
    name="cityscapes",
    title="Cityscapes, fine annotations",
    task="semantic segmentation of streets",
    classes=19,
    terms="non-commercial research, teaching and personal experiments; no redistribution",
    terms_url="https://www.cityscapes-dataset.com/license/",
    home="https://www.cityscapes-dataset.com/downloads/",
    files=(_MASKS, _IMAGES),
    splits=tuple(
        Split(
            name,
            f"leftImg8bit/{name}",
            count,
            f"gtFine/{name}",
            image_suffix="_leftImg8bit.png",
            label_suffix="_gtFine_labelTrainIds.png",
        )
        for name, count in _SPLITS.items()
    ),
    arrange=_arrange,
    account=True,
    labels=frozenset({*range(19), _IGNORED}),
    image_size=(1024, 2048),
    configs="mmattn::ccnet/ccnet_r101-d8_4xb2-40k_cityscapes-512x1024.py",
    default_root="data/cityscapes",
    notes=("panoptic maps and COCO files of instances are made by cityscapesscripts and mmdet",),
)
