"""The result of an image as a record, one line of JSON, and the files beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mmattn.detections import Detections, draw_detections, write_crops
from mmattn.detections.panoptic_file import encode_map, list_segments
from mmattn.errors import MMAttnError
from mmattn.inference.panoptic_files import paint_panoptic
from mmattn.inference.prediction_files import (
    label_map_path,
    overlay_path,
    write_boxes,
    write_image,
    write_label_map,
    write_overlay,
)
from mmattn.inference.predictor import Predictor
from mmattn.io.storage import storage_error

from .options import ManyOptions
from .sources import ListedImage

if TYPE_CHECKING:
    import numpy as np


class RecordWriter:
    """Writes what is a file of its own, and returns the rest as a record.

    Args:
        predictor: Whose results are written.
        out: Folder of the files; they keep the sub-folders of their images.
        options: What is written.
    """

    def __init__(self, predictor: Predictor, out: Path, options: ManyOptions) -> None:
        self.predictor, self.out, self.options = predictor, out, options
        self.classes: Sequence[str] = list(predictor.classes)
        self._describe = {
            "boxes": self._boxes,
            "classes": self._class_map,
            "segments": self._segments,
        }[predictor.result]
        if options.draw or predictor.result != "boxes":
            self._set_up_painter()

    def __call__(self, image: ListedImage, pixels: np.ndarray, result: Any) -> dict[str, Any]:
        """Write the files of an image, and return its record.

        Args:
            image: The image.
            pixels: (H, W, 3) uint8 RGB.
            result: Result of the predictor.

        Raises:
            StorageError: A file cannot be written.
        """
        height, width = pixels.shape[:2]
        record = {"file": image.name, "height": height, "width": width}
        try:
            return record | self._describe(image, pixels, result)
        except OSError as error:
            if isinstance(error, MMAttnError):
                raise
            raise storage_error(error, instead="give another --out") from error

    def _set_up_painter(self) -> None:
        from mmattn.reports.painter import Painter

        self._painter = Painter.of(self.classes, self.predictor.palette, self.options.opacity)

    def _boxes(self, image: ListedImage, pixels: np.ndarray, found: Detections) -> dict[str, Any]:
        kept = found.above(self.options.detection.score_threshold)
        if self.options.detection.save_crops:
            stem = image.stem.replace("/", "_")
            write_crops(pixels, kept, self.classes, self.out / "crops", stem)
        if self.options.draw:
            drawn = draw_detections(pixels, kept, self.classes, self.predictor.palette)
            write_boxes(drawn, Path(image.stem), self.out)
        return {"detections": list_detections(kept, self.classes)}

    def _class_map(
        self, image: ListedImage, pixels: np.ndarray, labels: np.ndarray
    ) -> dict[str, Any]:
        import numpy as np

        dtype = np.uint8 if len(self.classes) <= 256 else np.uint16
        path = write_label_map(labels.astype(dtype), Path(image.stem), self.out)
        if self.options.draw:
            write_overlay(
                labels,
                pixels,
                self._painter,
                Path(image.stem),
                self.out,
                legend=self.options.legend,
            )
        return {"map": path.relative_to(self.out).as_posix()}

    def _segments(self, image: ListedImage, pixels: np.ndarray, segments: Any) -> dict[str, Any]:
        things = list(self.predictor.things)  # type: ignore[attr-defined]
        path = label_map_path(Path(image.stem), self.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_map(segments))
        if self.options.draw:
            painted = paint_panoptic(pixels, segments, self._painter.palette, things)
            write_image(overlay_path(Path(image.stem), self.out), painted[..., ::-1])
        listed = list_segments(segments, range(len(self.classes)), things)
        return {"map": path.relative_to(self.out).as_posix(), "segments_info": listed}


def list_detections(found: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return detections as JSON: ``bbox`` is [left, top, width, height] in pixels of the image."""
    listed = []
    for index in range(len(found)):
        left, top, right, bottom = map(float, found.boxes[index])
        label = int(found.labels[index])
        listed.append(
            {
                "category_id": label + 1,
                "category_name": classes[label],
                "bbox": [round(v, 3) for v in (left, top, right - left, bottom - top)],
                "score": round(float(found.scores[index]), 6),
            }
        )
    return listed


def broken_record(image: ListedImage, reason: str) -> dict[str, Any]:
    """Return the record of an image that cannot be read."""
    return {"file": PurePosixPath(image.name).as_posix(), "error": reason}
