"""Predictions in COCO's panoptic form: a PNG for each image, and one JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmattn.detections.panoptic_file import encode_map, list_categories, list_segments
from mmattn.detections.segment_map import SegmentMap
from mmattn.evaluation.claimed_files import ClaimedFiles
from mmattn.io import atomic_write

from .image_result import ImageResult
from .truth import PanopticClasses


class PanopticWriter:
    """Writes ``PREFIX.panoptic/NAME.png`` as images are predicted, then ``PREFIX.panoptic.json``.

    Args:
        prefix: Path without ending; all processes need to see it.
    """

    def __init__(self, prefix: str) -> None:
        self.folder = Path(f"{prefix}.panoptic")
        self.file = Path(f"{prefix}.panoptic.json")
        self._claimed = ClaimedFiles("map", "Rename one of them, or test their folders one by one")
        self._names: Mapping[str, Path] = {}

    def name_outputs(self, names: Mapping[str, Path]) -> None:
        """Set the names of maps, where images of several folders have one name.

        Args:
            names: Path of an image -> path of its map below ``folder``, without ending; the same
                in all processes. Images that are not there give their maps their own name.
        """
        self._names = names

    def write_map(
        self, image: str, predicted: SegmentMap, classes: PanopticClasses
    ) -> list[dict[str, Any]]:
        """Write the map of an image.

        Args:
            image: Path of the image; its map is called as it, or as ``name_outputs`` says.
            predicted: Segments; their ids in the file are 1, 2, ….
            classes: Classes of the labels.

        Returns:
            ``segments_info`` of the image.

        Raises:
            DataError: Another image has the same name.
        """
        file = self.folder / f"{self._name_of(image).as_posix()}.png"
        self._claimed.claim(str(file), image)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_map(predicted))
        return list_segments(predicted, classes.category_ids, classes.things)

    def check_processes(self) -> None:
        """Check that no two processes wrote the same file; all of them have to call this.

        Raises:
            DataError: Two did, for different images.
        """
        self._claimed.check_processes()

    def write_json(self, results: Sequence[ImageResult], classes: PanopticClasses) -> Path:
        """Write the annotation file of all images; returns its path."""
        content: Mapping[str, Iterable[Any]] = {
            "images": [
                {
                    "id": result.image_id,
                    "file_name": self._name_of(result.name)
                    .with_name(Path(result.name).name)
                    .as_posix(),
                }
                for result in results
            ],
            "categories": list_categories(classes.names, classes.category_ids, classes.things),
            "annotations": [
                {
                    "image_id": result.image_id,
                    "file_name": f"{self._name_of(result.name).as_posix()}.png",
                    "segments_info": result.listed,
                }
                for result in results
            ],
        }
        with atomic_write(self.file, "w") as file:
            file.write(json.dumps(content) + "\n")
        return self.file

    def _name_of(self, image: str) -> Path:
        return self._names.get(image, Path(Path(image).stem))
