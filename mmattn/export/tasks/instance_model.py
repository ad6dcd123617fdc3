"""An instance segmentor as a function of images: what is traced, and what parity refers to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmattn.errors import ExportError

from .exportable import ExportableModel


class InstanceExport(ExportableModel):
    """RGB images in, objects with their masks out; normalisation and selection inside.

    Args:
        model: Detector of mmdet with a method ``instances_for_export``, which takes normalised
            images and returns ``labels`` (N, K), ``scores`` (N, K), below 0 where there is no
            object, and ``masks`` (N, K, H, W) bool.
        output: ``"masks"``.

    Shape:
        - images: (N, 3, H, W) float32 RGB in 0..255
        - labels: (N, K) int64
        - scores: (N, K) float32
        - masks: (N, K, H, W) bool, at the size of the input

    Raises:
        ExportError: The model has no such method, or ``output`` is unknown.
    """

    axes = {
        "labels": {0: "batch"},
        "scores": {0: "batch"},
        "masks": {0: "batch", 2: "height", 3: "width"},
    }

    def __init__(self, model: nn.Module, *, output: str = "masks") -> None:
        if output != "masks":
            raise ExportError(f"an instance segmentor returns 'masks', got {output!r}")
        if not callable(getattr(model, "instances_for_export", None)):
            raise ExportError(
                f"{type(model).__name__} cannot be exported: it has no instances_for_export"
            )
        super().__init__(model, output)
        self.model: Any  # torch types every attribute of a module as a module
        count = self.model.num_export_classes
        self.classes = self.class_names(count)[:count]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.model.instances_for_export(self.normalise(images))


def preprocessed(model: Any, images: np.ndarray) -> dict[str, Any]:
    """Return ``inputs`` and ``data_samples`` as mmdet's detectors take them.

    Args:
        model: Detector.
        images: (N, H, W, 3) uint8 RGB
    """
    from mmdet.structures import DetDataSample

    device = next(model.parameters()).device
    size = images.shape[1:3]
    meta = {"img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)}
    samples = [DetDataSample(metainfo=meta) for _ in images]
    bgr = list(torch.from_numpy(images).to(device).permute(0, 3, 1, 2).flip(1))
    return model.data_preprocessor({"inputs": bgr, "data_samples": samples}, False)


@torch.no_grad()
def torch_instances(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Segment by the model's own path: data preprocessor and ``predict``.

    Args:
        model: Detector in eval mode.
        images: (N, H, W, 3) uint8 RGB

    Returns:
        ``labels``, ``scores`` and ``masks`` as in a file, as many as the most in an image.
    """
    height, width = images.shape[1:3]
    data = preprocessed(model, images)
    results = model.predict(data["inputs"], data["data_samples"], rescale=False)
    results = [sample.pred_instances for sample in results]
    rows = max((len(result) for result in results), default=0)
    found = {
        "labels": np.full((len(images), rows), -1, np.int64),
        "scores": np.full((len(images), rows), -1, np.float32),
        "masks": np.zeros((len(images), rows, height, width), bool),
    }
    for index, result in enumerate(results):
        for name, values in found.items():
            values[index, : len(result)] = result[name].cpu().numpy()
    return found
