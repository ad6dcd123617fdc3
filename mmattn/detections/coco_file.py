"""Detections of many images as one JSON file in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmattn.io import atomic_write

from .detections import Detections


class CocoFile:
    """Collects the detections of images.

    The file has COCO's ``images``, ``categories`` and ``annotations``; an annotation holds
    ``bbox``, [left, top, width, height] in pixels of the stored image, ``score`` and
    ``category_id``, the index of the class plus one. Tools that read COCO's annotations read it as
    it is, and its ``annotations`` are what ``COCO.loadRes`` takes.

    Args:
        classes: Class names by index.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]

    def add(self, name: str, size: tuple[int, int], detections: Detections) -> None:
        """Add an image of ``size``, (height, width), with the boxes found in it."""
        image_id = len(self.images) + 1
        height, width = size
        self.images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for index in range(len(detections)):
            left, top, right, bottom = map(float, detections.boxes[index])
            label = int(detections.labels[index])
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "category_name": self.categories[label]["name"],
                    "bbox": [round(v, 3) for v in (left, top, right - left, bottom - top)],
                    "area": round((right - left) * (bottom - top), 3),
                    "iscrowd": 0,
                    "score": round(float(detections.scores[index]), 6),
                }
            )

    def write(self, path: Path) -> None:
        """Write the file; it appears when it is complete."""
        content = {
            "images": self.images,
            "categories": self.categories,
            "annotations": self.annotations,
        }
        with atomic_write(path) as file:
            file.write((json.dumps(content, ensure_ascii=False) + "\n").encode())
