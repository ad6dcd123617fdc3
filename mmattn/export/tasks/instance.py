"""Instance segmentation: labels, scores and masks of objects, and parity by matching them.

The traced model is in ``instance_model``, so that running a file needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmattn.detections import Detections

from ..metadata import ExportMetadata
from .task import Decoder, ExportTask, Outputs, ParityMeasure

if TYPE_CHECKING:
    from torch import nn

    from .instance_model import InstanceExport

#: What two programs may differ by in the score and the mask of an object that counts as the same.
MAX_SCORE_DIFFERENCE, MIN_IOU = 1e-3, 0.95


class BoxesOfMasksDecoder(Decoder):
    """Turns the outputs of a file into detections: the smallest boxes around the masks."""

    def __call__(self, outputs: Outputs) -> list[Detections]:
        """Return the detections of each image, in pixels of the input; empty masks are none."""
        found = []
        columns = (outputs[name] for name in ("labels", "scores", "masks"))
        for labels, scores, masks in zip(*columns, strict=True):
            there = (scores >= 0) & masks.any((1, 2))
            boxes = [_box(mask) for mask in masks[there]]
            array = np.array(boxes, np.float32).reshape(-1, 4)
            found.append(Detections.of(array, scores[there], labels[there]))
        return found


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


class InstanceParity(ParityMeasure):
    """Pairs the objects of a file with torch's: same class, near score, nearly same mask.

    Every object has one partner at most, and those without one count on either side, so a file
    that finds too much fails like one that finds too little.
    """

    agreement_title = "same objects"

    def __init__(self) -> None:
        super().__init__()
        self.same = self.total = 0

    def add(self, outputs: Outputs, expected: Outputs) -> None:
        names = ("labels", "scores", "masks")
        columns = [group[name] for group in (outputs, expected) for name in names]
        for labels, scores, masks, own_labels, own_scores, own_masks in zip(*columns, strict=True):
            if masks.shape[1:] != own_masks.shape[1:]:
                raise ValueError(f"the file returns {masks.shape}, the model {own_masks.shape}")
            there, own = ~(scores < 0), ~(own_scores < 0)  # NaN is there, and is like nothing
            self.largest = float(np.maximum(self.largest, own_scores.max(initial=0.0)))
            self.same += 2 * _pairs(
                (own_labels[own], own_scores[own], own_masks[own]),
                (labels[there], scores[there], masks[there]),
            )
            self.total += int(own.sum()) + int(there.sum())

    @property
    def agreement(self) -> float:
        """Share of the objects of both that have a partner; 1 where neither has any."""
        return self.same / self.total if self.total else 1.0


_Objects = tuple[np.ndarray, np.ndarray, np.ndarray]


def _pairs(first: _Objects, second: _Objects) -> int:
    """Count the pairs of objects, (labels, scores, masks); each takes the best that is left."""
    labels, scores, masks = second
    free = np.ones(len(labels), bool)
    for label, score, mask in zip(*first, strict=True):
        near = np.flatnonzero(
            free & (labels == label) & (np.abs(scores - score) <= MAX_SCORE_DIFFERENCE)
        )
        overlaps = [_iou(mask, masks[index]) for index in near]
        if overlaps and max(overlaps) >= MIN_IOU:
            free[near[int(np.argmax(overlaps))]] = False
    return int((~free).sum())


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return 1.0 if union == 0 else float((a & b).sum() / union)


class InstanceSegmentation(ExportTask):
    """Detectors that bring ``instances_for_export`` (``instance_model.InstanceExport``)."""

    name = "instance segmentation"
    outputs = ("masks",)

    def supports(self, model: nn.Module) -> bool:
        return callable(getattr(model, "instances_for_export", None))

    def wrap(self, model: nn.Module, output: str) -> InstanceExport:
        from .instance_model import InstanceExport

        return InstanceExport(model, output=output)

    def run_torch(self, model: nn.Module, images: np.ndarray) -> Outputs:
        """Return ``labels`` (N, K), ``scores`` (N, K) and ``masks`` (N, K, H, W)."""
        from .instance_model import torch_instances

        return torch_instances(model, images)

    def decoder(self, metadata: ExportMetadata) -> BoxesOfMasksDecoder:
        return BoxesOfMasksDecoder(metadata)

    def measure(self, metadata: ExportMetadata) -> InstanceParity:
        return InstanceParity()


TASK = InstanceSegmentation()
