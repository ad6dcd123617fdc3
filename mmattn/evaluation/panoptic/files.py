"""Predictions in COCO's panoptic form: a PNG for each image, and one JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
from mmengine.dist import all_gather_object

from mmattn.errors import DataError
from mmattn.io import atomic_write

from .image_result import ImageResult
from .segments import SegmentMap, id_colours
from .truth import PanopticClasses


class PanopticWriter:
    """Writes ``PREFIX.panoptic/NAME.png`` as images are predicted, then ``PREFIX.panoptic.json``.

    Args:
        prefix: Path without ending; all processes need to see it.
    """

    def __init__(self, prefix: str) -> None:
        self.folder = Path(f"{prefix}.panoptic")
        self.file = Path(f"{prefix}.panoptic.json")
        self._images: dict[str, str] = {}

    def write_map(
        self, image: str, predicted: SegmentMap, classes: PanopticClasses
    ) -> list[dict[str, Any]]:
        """Write the map of an image.

        Args:
            image: Path of the image, whose name the map gets.
            predicted: Segments; their ids in the file are 1, 2, ….
            classes: Classes of the labels.

        Returns:
            ``segments_info`` of the image.

        Raises:
            DataError: Another image has the same name.
        """
        name = Path(image).stem + ".png"
        self._claim(name, image)
        success, encoded = cv2.imencode(".png", id_colours(predicted.index)[..., ::-1])
        if not success:
            raise ValueError(f"OpenCV cannot encode a map of shape {predicted.shape}")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(encoded.tobytes())
        boxes, areas = predicted.boxes().tolist(), predicted.areas().tolist()
        return [
            {
                "id": place + 1,
                "category_id": classes.category_ids[label],
                "isthing": int(classes.things[label]),
                "iscrowd": 0,
                "bbox": boxes[place],
                "area": areas[place],
            }
            for place, label in enumerate(predicted.labels.tolist())
        ]

    def check_processes(self) -> None:
        """Check that no two processes wrote the same file; all of them have to call this.

        Raises:
            DataError: Two did, for different images.
        """
        for images in all_gather_object(self._images):
            for name, image in images.items():
                self._claim(name, image)

    def write_json(self, results: Sequence[ImageResult], classes: PanopticClasses) -> Path:
        """Write the annotation file of all images; returns its path."""
        content: Mapping[str, Iterable[Any]] = {
            "images": [
                {"id": result.image_id, "file_name": Path(result.name).name} for result in results
            ],
            "categories": [
                {"id": number, "name": name, "isthing": int(thing)}
                for number, name, thing in zip(
                    classes.category_ids, classes.names, classes.things, strict=True
                )
            ],
            "annotations": [
                {
                    "image_id": result.image_id,
                    "file_name": Path(result.name).stem + ".png",
                    "segments_info": result.listed,
                }
                for result in results
            ],
        }
        with atomic_write(self.file, "w") as file:
            file.write(json.dumps(content) + "\n")
        return self.file

    def _claim(self, name: str, image: str) -> None:
        other = self._images.setdefault(name, image)
        if other != image:
            raise DataError(
                f"{image} and {other} would both be written to the map {self.folder / name}. "
                "Rename one of them, or test their folders one by one"
            )
