"""Folders of boxes in every format that is read, all with the same objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

NAMES = ("cell", "dot", "rod")
#: Height and width of every image.
SIZE = (64, 96)
Box = tuple[str, float, float, float, float]


def objects_of(index: int) -> list[Box]:
    """Class and corners of the objects of an image; each image has other ones."""
    shift = 2 * index
    return [
        ("cell", 4 + shift, 8, 28 + shift, 32),
        ("rod", 40, 10 + shift, 88, 22 + shift),
        *([("dot", 60, 40, 70, 52)] if index % 2 else []),
    ]


def write_image(
    path: Path, objects: Sequence[Box], seed: int = 0, size: tuple[int, int] = SIZE
) -> None:
    """Write an image that shows its objects over noise of its own."""
    noise = np.random.default_rng(seed).integers(60, 160, (*size, 3), np.uint8)
    for name, *box in objects:
        x1, y1, x2, y2 = (round(v) for v in box)
        noise[y1:y2, x1:x2, NAMES.index(name)] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), noise)


def write_voc_file(path: Path, objects: Sequence[Box], size: str | None = None) -> None:
    """Write one XML file; ``size`` is the text of its element, none for ``""``."""
    if size is None:
        size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>3</depth></size>"
    items = "".join(
        f"<object><name>{n}</name><difficult>0</difficult><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
        f"<xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for n, a, b, c, d in objects
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{size}{items}</annotation>")


def yolo_lines(objects: Sequence[Box]) -> str:
    """Return the lines of a label file."""
    height, width = SIZE
    return "\n".join(
        f"{NAMES.index(n)} {(a + c) / 2 / width:.8f} {(b + d) / 2 / height:.8f} "
        f"{(c - a) / width:.8f} {(d - b) / height:.8f}"
        for n, a, b, c, d in objects
    )


def coco_content(images: Mapping[str, Sequence[Box]], *, masks: str = "") -> dict[str, Any]:
    """Return the content of an annotation file, with gaps in its ids and its own order of names.

    Args:
        images: File name -> its objects.
        masks: ``polygons``, ``rle``, or none.
    """
    from pycocotools import mask as coco_mask

    ids = {"dot": 9, "cell": 4, "rod": 7}
    annotations = []
    for image_id, (_, objects) in enumerate(images.items(), 10):
        for name, x1, y1, x2, y2 in objects:
            entry = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": ids[name],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            polygon = [[x1, y1, x2, y1, x2, y2, x1, y2]]
            if masks == "polygons":
                entry["segmentation"] = polygon
            elif masks == "rle":
                rle = coco_mask.merge(coco_mask.frPyObjects(polygon, *SIZE))
                entry["segmentation"] = {**rle, "counts": rle["counts"].decode()}
            annotations.append(entry)
    return {
        "images": [
            {"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for i, name in enumerate(images, 10)
        ],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "annotations": annotations,
    }


def _images(root: Path, folder: str, numbers: Sequence[int]) -> dict[str, list[Box]]:
    found = {f"{index:03d}.png": objects_of(index) for index in numbers}
    for (name, objects), index in zip(found.items(), numbers, strict=True):
        write_image(root / folder / name, objects, index)
    return found


def write_voc(root: Path, train: int = 4, val: int = 2) -> Path:
    """Write Pascal VOC's layout."""
    images = _images(root, "JPEGImages", range(train + val))
    for name, objects in images.items():
        write_voc_file(root / "Annotations" / f"{Path(name).stem}.xml", objects)
    stems = [Path(name).stem for name in images]
    lists = root / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(stems[:train]))
    (lists / "val.txt").write_text("\n".join(stems[train:]))
    return root


def write_coco(root: Path, train: int = 4, val: int = 2, *, masks: str = "") -> Path:
    """Write COCO's layout."""
    (root / "annotations").mkdir(parents=True)
    for split, numbers in {"train": range(train), "val": range(train, train + val)}.items():
        images = _images(root, f"{split}2017", numbers)
        content = json.dumps(coco_content(images, masks=masks))
        (root / f"annotations/instances_{split}2017.json").write_text(content)
    return root


def write_yolo(root: Path, train: int = 4, val: int = 2, *, yaml: bool = True) -> Path:
    """Write YOLO's layout, with ``data.yaml`` or ``classes.txt``."""
    for split, numbers in {"train": range(train), "val": range(train, train + val)}.items():
        for name, objects in _images(root, f"images/{split}", numbers).items():
            label = root / f"labels/{split}/{Path(name).stem}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(yolo_lines(objects))
    if yaml:
        names = "\n".join(f"  {i}: {name}" for i, name in enumerate(NAMES))
        text = f"path: .\ntrain: images/train\nval: images/val\nnc: {len(NAMES)}\nnames:\n{names}\n"
        (root / "data.yaml").write_text(text)
    else:
        (root / "classes.txt").write_text("\n".join(NAMES))
    return root


def write_panoptic(root: Path, train: int = 3, val: int = 2) -> Path:
    """Write COCO's panoptic layout: the objects are things over one stuff class, ``ground``."""
    ids = {"ground": 30, "dot": 9, "cell": 4, "rod": 7}
    (root / "annotations").mkdir(parents=True)
    for split, numbers in {"train": range(train), "val": range(train, train + val)}.items():
        images = _images(root, f"images/{split}", numbers)
        annotations = []
        for image_id, (name, objects) in enumerate(images.items(), 1):
            pixels = np.full(SIZE, 1, np.int64)
            for number, (_, *box) in enumerate(objects, 300):
                x1, y1, x2, y2 = (round(v) for v in box)
                pixels[y1:y2, x1:x2] = number
            colours = np.stack([pixels // 256**i % 256 for i in (2, 1, 0)], -1).astype(np.uint8)
            path = root / f"annotations/panoptic_{split}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), colours)
            segments = [{"id": 1, "category_id": ids["ground"], "iscrowd": 0}]
            for number, (kind, x1, y1, x2, y2) in enumerate(objects, 300):
                segments.append(
                    {"id": number, "category_id": ids[kind], "iscrowd": 0,
                     "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
                )  # fmt: skip
            annotations.append({"image_id": image_id, "file_name": name, "segments_info": segments})
        content = {
            "images": [
                {"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
                for i, name in enumerate(images, 1)
            ],
            "categories": [
                {"id": n, "name": name, "isthing": int(name != "ground")} for name, n in ids.items()
            ],
            "annotations": annotations,
        }
        (root / f"annotations/panoptic_{split}.json").write_text(json.dumps(content))
    return root
