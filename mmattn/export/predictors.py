"""Exported files as functions from an image, of any size, to its result in pixels of that image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from mmattn.detections import Detections
from mmattn.detections.segment_map import SegmentMap
from mmattn.errors import ExportError
from mmattn.images import read_image
from mmattn.inference.predictor import LoadedImage

from .exported_model import ExportedModel, load_exported
from .preparation import Prepared, prepare
from .tasks.panoptic import PanopticDecoder
from .tasks.semantic import decide

DETECTION, SEMANTIC = "object detection", "semantic segmentation"
INSTANCE, PANOPTIC = "instance segmentation", "panoptic segmentation"


class _ExportedPredictor:
    """Base: an exported file of one task, and the reading of images for it."""

    remark: str = ""

    def __init__(self, exported: ExportedModel, task: str) -> None:
        found = exported.metadata.task
        if found != task:
            raise ExportError(
                f"{exported.path} is a file for {found}, and {task} is asked for; export a model "
                f"for {task}"
            )
        self.exported = exported
        self.classes: list[str] = exported.metadata.classes
        self.palette: list[list[int]] = exported.metadata.palette

    def __call__(self, image: np.ndarray) -> Any:
        """Return the result of (H, W, 3) uint8 RGB."""
        return self._results([self._prepare(image)])[0]

    def predict_file(self, file: Path) -> tuple[Any, np.ndarray]:
        """Return the result of an image file, and the image, (H, W, 3) uint8 RGB.

        Raises:
            DataError: The file cannot be read.
        """
        image = read_image(file, bit_depth=self.exported.metadata.bit_depth)
        return self(image), image

    def load_file(self, file: Path) -> LoadedImage:
        """Read and prepare an image file; a file with a free batch takes several of one shape."""
        metadata = self.exported.metadata
        image = read_image(file, bit_depth=metadata.bit_depth)
        prepared = self._prepare(image)
        return LoadedImage(prepared, image, prepared.pixels.shape if metadata.dynamic else None)

    def predict_loaded(self, images: Sequence[LoadedImage]) -> list[Any]:
        """Return the results of images whose prepared pixels have one shape."""
        return self._results([image.prepared for image in images])

    def _prepare(self, image: np.ndarray) -> Prepared:
        return prepare(image, self.exported.metadata, str(self.exported.path))

    def _results(self, images: Sequence[Prepared]) -> list[Any]:
        """Return the results of images whose pixels have one shape."""
        raise NotImplementedError


class _ExportedBoxes(_ExportedPredictor):
    """Base class of files that find boxes, whatever the task."""

    result: Literal["boxes"] = "boxes"

    def _results(self, images: Sequence[Prepared]) -> list[Detections]:
        return [
            Detections.of(image.undo_boxes(found.boxes), found.scores, found.labels)
            for image, found in zip(images, self.exported(_batch(images)), strict=True)
        ]


class ExportedDetector(_ExportedBoxes):
    """An exported detector: resizing and padding, the file, boxes back in pixels of the image.

    Args:
        exported: Exported file of a detector.

    Attributes:
        classes: Class names by index.
        palette: RGB per class; empty where the dataset has none.

    Raises:
        ExportError: The file is of another task, or holds the raw outputs of the head.
    """

    def __init__(self, exported: ExportedModel) -> None:
        super().__init__(exported, DETECTION)
        if exported.metadata.output == "raw":
            raise ExportError(
                f"{exported.path} holds the raw outputs of the head, which only the head can "
                "decode; export the checkpoint again with --form nms"
            )


class ExportedInstanceSegmentor(_ExportedBoxes):
    """An exported instance segmentor: its objects as boxes around their masks.

    Args:
        exported: Exported file of an instance segmentor.

    Raises:
        ExportError: The file is of another task.
    """

    remark = "objects are drawn and written as the boxes around their masks"

    def __init__(self, exported: ExportedModel) -> None:
        super().__init__(exported, INSTANCE)


class ExportedPanopticSegmentor(_ExportedPredictor):
    """An exported panoptic segmentor: resizing and padding, the file, a map at the image's size.

    Args:
        exported: Exported file of a panoptic segmentor.

    Attributes:
        things: Whether each class is a thing, whose objects are told apart.

    Raises:
        ExportError: The file is of another task.
    """

    result: Literal["segments"] = "segments"

    def __init__(self, exported: ExportedModel) -> None:
        super().__init__(exported, PANOPTIC)
        count = (exported.metadata.postprocess or {})["num_things"]
        self.things = [index < count for index in range(len(self.classes))]

    def _results(self, images: Sequence[Prepared]) -> list[SegmentMap]:
        outputs = self.exported.run(_batch(images))
        decode = PanopticDecoder(self.exported.metadata)
        return [
            decode.segments(outputs, index, content=image.content, output_size=image.original)
            for index, image in enumerate(images)
        ]


class ExportedSegmentor(_ExportedPredictor):
    """An exported semantic segmentor: resizing and padding, the file, classes at the image's size.

    Args:
        exported: Exported file of a semantic segmentor.

    Raises:
        ExportError: The file is of another task.
    """

    result: Literal["classes"] = "classes"

    def __init__(self, exported: ExportedModel) -> None:
        super().__init__(exported, SEMANTIC)

    def _results(self, images: Sequence[Prepared]) -> list[np.ndarray]:
        outputs = self.exported.run(_batch(images))["output"]
        return [self._classes(*pair) for pair in zip(outputs, images, strict=True)]

    def _classes(self, output: np.ndarray, image: Prepared) -> np.ndarray:
        """Return the classes, (H, W) int64 at the size of the image, of one output of the file."""
        metadata = self.exported.metadata
        height, width = image.content
        size = image.original[1], image.original[0]
        if metadata.output == "classes":
            classes = output[:height, :width].astype(np.int32)
            if classes.shape == image.original:
                return classes.astype(np.int64)
            resized = cv2.resize(classes.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
            return resized.astype(np.int64)
        logits = output[:, :height, :width]
        if logits.shape[1:] != image.original:
            align = bool((metadata.postprocess or {}).get("align_corners", False))
            logits = np.stack([resize_map(channel, size, align) for channel in logits])
        return decide(logits[None], metadata.threshold)[0]


def _batch(images: Sequence[Prepared]) -> np.ndarray:
    """Return (N, h, w, 3), the pixels of all."""
    return np.stack([image.pixels for image in images])


def resize_map(values: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    """Resize (H, W) float32 bilinearly to (width, height), as torch's ``interpolate`` does."""
    if not align_corners:
        return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    height, width = values.shape
    x = np.linspace(0, width - 1, size[0], dtype=np.float32)
    y = np.linspace(0, height - 1, size[1], dtype=np.float32)
    across = np.stack([np.interp(x, np.arange(width), row) for row in values])
    return np.stack([np.interp(y, np.arange(height), row) for row in across.T]).T


def load_predictor(
    path: str | Path, *, num_threads: int = 0
) -> ExportedDetector | ExportedInstanceSegmentor | ExportedPanopticSegmentor | ExportedSegmentor:
    """Load an exported file as a predictor of its task.

    Args:
        path: File that ``export`` wrote.
        num_threads: Number of threads of the runtime; 0 leaves the choice to it.

    Raises:
        ExportError: The runtime is not installed or cannot load the file, mmattn did not write it,
            or no results can be made of its outputs.
    """
    if not Path(path).is_file():
        raise ExportError(f"There is no exported file {path}; `mmattn export` writes one.")
    exported = load_exported(path, num_threads=num_threads)
    if exported.metadata.task == DETECTION:
        return ExportedDetector(exported)
    if exported.metadata.task == INSTANCE:
        return ExportedInstanceSegmentor(exported)
    if exported.metadata.task == PANOPTIC:
        return ExportedPanopticSegmentor(exported)
    return ExportedSegmentor(exported)
