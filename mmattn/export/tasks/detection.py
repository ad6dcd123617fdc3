"""Object detection: three forms of output, detections decoded from them, and parity by matching.

The traced model is in ``detection_model``, so that running a file needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.detections import Detections, nms
from mmattn.errors import ExportError

from ..metadata import ExportMetadata
from .detection_match import MAX_SCORE_DIFFERENCE, Candidates, match, same_boxes
from .task import Decoder, ExportTask, Outputs, ParityMeasure

if TYPE_CHECKING:
    from torch import nn

    from .detection_model import DetectionExport

#: Rows of a file without NMS that go into NMS outside, per image.
MAX_CANDIDATES = 3000


class DetectionDecoder(Decoder):
    """Turns the outputs of a file into detections, in pixels of the file's input."""

    def __call__(self, outputs: Outputs) -> list[Detections]:
        """Return the detections of each image.

        Raises:
            ExportError: The file holds the raw outputs of the head.
        """
        form = self.metadata.output
        if form == "nms":
            return list(split_images(outputs))
        if form == "decoded":
            pairs = zip(outputs["boxes"], outputs["scores"], strict=True)
            return [self._select(boxes, scores) for boxes, scores in pairs]
        raise ExportError(
            "the file holds the raw outputs of the head, which only the head can decode; export "
            "the checkpoint again with --form nms"
        )

    def _select(self, boxes: np.ndarray, scores: np.ndarray) -> Detections:
        """Select from boxes (A, 4) and scores (A, C): threshold, NMS, limit."""
        said: dict[str, Any] = self.metadata.postprocess or {}
        # The product of a class score and a factor may be lower than a class score has to be.
        above = scores > (0.0 if said.get("thresholded") else said.get("score_threshold", 0.0))
        if not said.get("multi_label", True):
            above &= np.arange(scores.shape[1]) == scores.argmax(1)[:, None]
        smallest = said.get("min_box_size")
        if smallest is not None and smallest >= 0:
            above &= (boxes[:, 2:] - boxes[:, :2] > smallest).all(1)[:, None]
        rows, labels = np.nonzero(above)
        found = Detections.of(boxes[rows], scores[rows, labels], labels)[:MAX_CANDIDATES]
        if said.get("iou_threshold") is not None:
            found = nms(found, said["iou_threshold"])
        limit = said.get("max_per_image", -1)
        return found[:limit] if limit > 0 else found


def split_images(outputs: Outputs) -> Iterator[Detections]:
    """Yield the detections of each image of padded outputs."""
    columns = (outputs[name] for name in ("boxes", "scores", "labels", "count"))
    for boxes, scores, labels, count in zip(*columns, strict=True):
        number = int(count)
        yield Detections.of(boxes[:number], scores[:number], labels[:number])


class DetectionParity(ParityMeasure):
    """Pairs the detections of a file with torch's, or compares the outputs where there are none.

    A file of the form ``nms`` has to return what torch returns, and nothing that is no candidate in
    torch; of the form ``decoded``, each detection of torch has to be among its candidates; of the
    form ``raw``, the outputs of the head have to be equal. Boxes are compared within the image.

    Args:
        metadata: Metadata of the file.
    """

    def __init__(self, metadata: ExportMetadata) -> None:
        super().__init__()
        self.metadata = metadata
        self.agreement_title = "same values" if metadata.output == "raw" else "same detections"
        self.decode = DetectionDecoder(metadata)
        self.same = 0
        self.total = 0
        self.borderline = 0

    def add(self, outputs: Outputs, expected: Outputs) -> None:
        if self.metadata.output == "raw":
            self._add_raw(outputs, expected)
            return
        scores = expected["scores"]
        self.largest = float(np.maximum(self.largest, scores.max(initial=0.0)))
        limit = int((self.metadata.postprocess or {}).get("max_per_image", -1))
        torch_found = [found[:limit] if limit > 0 else found for found in split_images(expected)]
        if self.metadata.output == "decoded":
            self._add_decoded(outputs, expected, torch_found)
            return
        said = self.metadata.postprocess or {}
        limits = {key: said[key] for key in ("score_threshold", "iou_threshold", "max_per_image")}
        for image, (ours, theirs) in enumerate(zip(self.decode(outputs), torch_found, strict=True)):
            boxes, scores = (expected[f"candidate_{name}"][image] for name in ("boxes", "scores"))
            height, width = expected["image_size"][image].tolist()
            candidates = Candidates(boxes, scores, (height, width))
            result = match(ours, theirs, **limits, candidates=candidates)
            self.same += 2 * result.pairs + result.borderline
            self.total += 2 * result.pairs + result.borderline + result.unmatched
            self.borderline += result.borderline

    def _add_decoded(
        self, outputs: Outputs, expected: Outputs, torch_found: list[Detections]
    ) -> None:
        sizes = expected["image_size"].tolist()
        columns = (outputs["boxes"], outputs["scores"], torch_found, sizes)
        for all_boxes, scores, found, (height, width) in zip(*columns, strict=True):
            limits = np.array([width, height, width, height], np.float32)
            boxes, found = np.clip(all_boxes, 0, limits), found.clipped(height, width)
            self.total += len(found)
            for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
                near = np.abs(scores[:, label] - score) <= MAX_SCORE_DIFFERENCE
                self.same += int(same_boxes(box[None], boxes[near]).any())

    def _add_raw(self, outputs: Outputs, expected: Outputs) -> None:
        for name, values in outputs.items():
            difference = self.add_values(name, values, expected[name])
            largest = float(np.abs(expected[name]).max())
            self.same += int((difference <= 1e-3 * max(largest, 1.0)).sum())
            self.total += values.size

    @property
    def agreement(self) -> float:
        """Share of the detections that the other program has too; 1 where neither has any."""
        return self.same / self.total if self.total else 1.0

    @property
    def results(self) -> int | None:
        return None if self.metadata.output == "raw" else self.total

    @property
    def undecided(self) -> float:
        return self.borderline / self.total if self.total else 0.0


class ObjectDetection(ExportTask):
    """Detectors of mmdet with one dense head, ``SingleStageDetector``."""

    name = "object detection"
    outputs = ("nms", "decoded", "raw")

    def supports(self, model: nn.Module) -> bool:
        from mmdet.models.detectors import BaseDetector

        return isinstance(model, BaseDetector)

    def wrap(self, model: nn.Module, output: str) -> DetectionExport:
        from .detection_model import DetectionExport

        return DetectionExport(model, output=output)

    def run_torch(self, model: nn.Module, images: np.ndarray) -> Outputs:
        """Return detections, padded, and the outputs of the head by name."""
        from .detection_model import torch_detections

        return torch_detections(model, images)

    def decoder(self, metadata: ExportMetadata) -> DetectionDecoder:
        return DetectionDecoder(metadata)

    def measure(self, metadata: ExportMetadata) -> DetectionParity:
        return DetectionParity(metadata)


TASK = ObjectDetection()
