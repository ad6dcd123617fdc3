"""A semantic segmentor as a function of images: what is traced, and what parity refers to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmattn.errors import ExportError

from .exportable import ExportableModel


def class_map(logits: Tensor, threshold: float | None) -> Tensor:
    """Take mmseg's decision: argmax, or a threshold for a one-channel output.

    Args:
        logits: (N, classes, H, W)
        threshold: Probability for class 1 where there is one channel.

    Returns:
        (N, H, W) int64
    """
    if threshold is None:
        return logits.argmax(1)
    return (logits[:, 0].sigmoid() > threshold).long()


class SemanticExport(ExportableModel):
    """RGB images in, logits at the same size out; normalisation and channel order inside.

    Args:
        model: An mmseg ``EncoderDecoder``.
        output: ``"logits"`` or ``"classes"``.

    Shape:
        - images: (N, 3, H, W) float32 RGB in 0..255
        - output: (N, classes, H, W) float32, or (N, H, W) int64

    Raises:
        ExportError: The model is not a semantic segmentor, or ``output`` is unknown.
    """

    axes = {"output": {0: "batch", -2: "height", -1: "width"}}

    def __init__(self, model: nn.Module, *, output: str = "logits") -> None:
        from mmseg.models import EncoderDecoder

        if not isinstance(model, EncoderDecoder):
            name = type(model).__name__
            raise ExportError(f"{name} cannot be exported: it is not an mmseg EncoderDecoder")
        if output not in ("logits", "classes"):
            raise ExportError(f"output must be 'logits' or 'classes', got {output!r}")
        super().__init__(model, output)
        self.threshold = model.decode_head.threshold if model.out_channels == 1 else None
        self.test_mode = str((model.test_cfg or {}).get("mode", "whole"))
        self.classes = self.class_names(model.num_classes)

    @property
    def size_divisor(self) -> int:
        return int((self.model.data_preprocessor.test_cfg or {}).get("size_divisor") or 1)

    def postprocess(self) -> dict[str, Any]:
        return {"align_corners": bool(self.model.align_corners)}

    def forward(self, images: Tensor) -> Tensor:
        images = self.normalise(images)
        # mmseg resizes the logits to img_shape; one entry serves the whole batch.
        logits = self.model.encode_decode(images, [{"img_shape": images.shape[2:]}])
        return logits if self.output == "logits" else class_map(logits, self.threshold)


@torch.no_grad()
def torch_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Compute logits by the model's own path, data preprocessor included.

    Args:
        model: An mmseg ``EncoderDecoder`` in eval mode.
        images: (N, 3, H, W) uint8 RGB

    Returns:
        (N, classes, H, W) float32
    """
    from mmseg.structures import SegDataSample

    bgr = list(images.flip(1))
    samples = [SegDataSample() for _ in bgr]
    inputs = model.data_preprocessor({"inputs": bgr, "data_samples": samples})["inputs"]
    return model.encode_decode(inputs, [{"img_shape": inputs.shape[2:]}] * len(bgr))
