"""Semantic segmentation: outputs, label maps decoded from them, and parity counted in pixels.

The traced model is in ``semantic_model``, so that running a file needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..metadata import ExportMetadata
from .task import Decoder, ExportTask, Outputs, ParityMeasure

if TYPE_CHECKING:
    from torch import nn

    from .semantic_model import SemanticExport


class LabelMapDecoder(Decoder):
    """Takes the class of each pixel: argmax, or a threshold for a one-channel output."""

    def __call__(self, outputs: Outputs) -> np.ndarray:
        """Return classes, (N, H, W) int64, whichever output the file has."""
        output = outputs["output"]
        if self.metadata.output == "classes":
            return output
        return decide(output, self.metadata.threshold)


def decide(logits: np.ndarray, threshold: float | None) -> np.ndarray:
    """Turn logits, (N, classes, H, W), into classes, (N, H, W) int64."""
    if threshold is None:
        return logits.argmax(1)
    probability = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    return (probability > threshold).astype(np.int64)


class PixelParity(ParityMeasure):
    """Compares logits, where the file returns them, and counts the pixels of the same class.

    Args:
        metadata: Metadata of the file.
    """

    agreement_title = "same class"

    def __init__(self, metadata: ExportMetadata) -> None:
        super().__init__()
        self.metadata = metadata
        self.decode = LabelMapDecoder(metadata)
        self.same = 0
        self.pixels = 0

    def add(self, outputs: Outputs, expected: Outputs) -> None:
        logits, output = expected["logits"], outputs["output"]
        if self.metadata.output == "logits":
            self.add_values("logits", output, logits)
        else:
            self.largest = float(np.maximum(self.largest, np.abs(logits).max()))
        classes = expected["classes"]
        self.same += int((self.decode(outputs) == classes).sum())
        self.pixels += classes.size

    @property
    def agreement(self) -> float:
        """Share of the pixels that get the same class."""
        return self.same / self.pixels


class SemanticSegmentation(ExportTask):
    """Models of mmseg, ``EncoderDecoder`` and its subclasses."""

    name = "semantic segmentation"
    outputs = ("logits", "classes")

    def supports(self, model: nn.Module) -> bool:
        from mmseg.models import EncoderDecoder

        return isinstance(model, EncoderDecoder)

    def wrap(self, model: nn.Module, output: str) -> SemanticExport:
        from .semantic_model import SemanticExport

        return SemanticExport(model, output=output)

    def run_torch(self, model: nn.Module, images: np.ndarray) -> Outputs:
        """Return ``logits``, (N, classes, H, W) float32, and ``classes``, (N, H, W) int64."""
        import torch

        from .semantic_model import SemanticExport, class_map, torch_logits

        device = next(model.parameters()).device
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
        logits = torch_logits(model, batch)
        classes = class_map(logits, SemanticExport(model).threshold)
        return {"logits": logits.cpu().numpy(), "classes": classes.cpu().numpy()}

    def decoder(self, metadata: ExportMetadata) -> LabelMapDecoder:
        return LabelMapDecoder(metadata)

    def measure(self, metadata: ExportMetadata) -> PixelParity:
        return PixelParity(metadata)


TASK = SemanticSegmentation()
