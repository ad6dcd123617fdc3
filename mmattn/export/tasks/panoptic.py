"""Panoptic segmentation: classes and masks of queries, made into a map outside of the file.

The map needs steps whose number depends on the image, so a file returns what they begin with, and
``panoptic_map`` goes on in numpy. The traced model is in ``panoptic_model``, so that running a file
needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmattn.detections.segment_map import SegmentMap, count_pairs
from mmattn.errors import ExportError

from ..metadata import ExportMetadata
from ..panoptic_map import Size, panoptic_map
from .task import Decoder, ExportTask, Outputs, ParityMeasure

if TYPE_CHECKING:
    from torch import nn

    from .panoptic_model import PanopticExport


class PanopticDecoder(Decoder):
    """Turns the outputs of a file into segments."""

    def __call__(self, outputs: Outputs) -> list[SegmentMap]:
        """Return the segments of each image, in pixels of the input."""
        stride = int((self.metadata.postprocess or {})["mask_stride"])
        height, width = (side * stride for side in outputs["mask_logits"].shape[2:])
        count = len(outputs["mask_logits"])
        size = (height, width)
        return [self.segments(outputs, i, content=size, output_size=size) for i in range(count)]

    def segments(
        self, outputs: Outputs, image: int, *, content: Size, output_size: Size
    ) -> SegmentMap:
        """Return the segments of one image.

        Args:
            outputs: Outputs of the file.
            image: Index of the image in the batch.
            content: Height and width of the image within the input, at its upper left.
            output_size: Height and width of the result.
        """
        settings = self.metadata.postprocess or {}
        masks = outputs["mask_logits"][image]
        stride = int(settings["mask_stride"])
        return panoptic_map(
            outputs["class_logits"][image],
            masks,
            settings,
            input_size=(masks.shape[1] * stride, masks.shape[2] * stride),
            content=content,
            output_size=output_size,
        )


class PanopticParity(ParityMeasure):
    """Compares the logits, and counts the pixels of the same segment.

    Args:
        metadata: Metadata of the file.
    """

    agreement_title = "same segment"

    def __init__(self, metadata: ExportMetadata) -> None:
        super().__init__()
        self.decode = PanopticDecoder(metadata)
        self.same = self.pixels = 0

    def add(self, outputs: Outputs, expected: Outputs) -> None:
        for name in ("class_logits", "mask_logits"):
            self.add_values(name, outputs[name], expected[name])
        pairs = zip(self.decode(outputs), expected["map"], expected["labels"], strict=True)
        for ours, index, labels in pairs:
            theirs = SegmentMap.of(index, dict(enumerate(labels.tolist(), 1)))
            self.same += same_pixels(theirs, ours)
            self.pixels += ours.index.size

    @property
    def agreement(self) -> float:
        """Share of the pixels that belong to the same segment."""
        return self.same / self.pixels


def same_pixels(first: SegmentMap, second: SegmentMap) -> int:
    """Count the pixels that are void in both, or in segments that are the same but for rounding.

    A segment is the one of the other map that it shares most pixels with, if each of the two says
    so of the other and they have one class.
    """
    pairs = count_pairs(first, second)
    total = int(pairs[0, 0])
    shared = pairs[1:, 1:]
    for row in range(len(shared)):
        column = int(shared[row].argmax()) if shared.shape[1] else -1
        if column < 0 or int(shared[:, column].argmax()) != row:
            continue
        if first.labels[row] == second.labels[column]:
            total += int(shared[row, column])
    return total


class PanopticSegmentation(ExportTask):
    """Detectors that bring ``queries_for_export`` (``panoptic_model.PanopticExport``)."""

    name = "panoptic segmentation"
    outputs = ("queries",)

    def supports(self, model: nn.Module) -> bool:
        from .panoptic_model import predicts_maps

        return callable(getattr(model, "queries_for_export", None)) and predicts_maps(model)

    def wrap(self, model: nn.Module, output: str) -> PanopticExport:
        from .panoptic_model import PanopticExport

        if output != "queries":
            raise ExportError(
                f"a panoptic segmentor returns 'queries', got {output!r}; for objects alone set "
                "model.test_cfg.panoptic_on=False model.test_cfg.instance_on=True"
            )
        return PanopticExport(model, output=output)

    def run_torch(self, model: nn.Module, images: np.ndarray) -> Outputs:
        """Return ``class_logits``, ``mask_logits``, and the model's own ``map`` with ``labels``."""
        from .panoptic_model import torch_panoptic

        return torch_panoptic(model, images)

    def decoder(self, metadata: ExportMetadata) -> PanopticDecoder:
        return PanopticDecoder(metadata)

    def measure(self, metadata: ExportMetadata) -> PanopticParity:
        return PanopticParity(metadata)


TASK = PanopticSegmentation()
