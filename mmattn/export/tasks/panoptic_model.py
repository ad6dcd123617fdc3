"""A panoptic segmentor as a function of images: what is traced, and what parity refers to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmattn.detections.mmdet_panoptic import labels_of_ids
from mmattn.detections.segment_map import SegmentMap

from .exportable import ExportableModel
from .instance_model import preprocessed


def predicts_maps(model: nn.Module) -> bool:
    """Return whether the config asks for panoptic maps, as mmdet's detectors do by default."""
    return bool((getattr(model, "test_cfg", None) or {}).get("panoptic_on", True))


class PanopticExport(ExportableModel):
    """RGB images in, classes and masks of queries out; the normalisation inside.

    Args:
        model: Detector of mmdet with a method ``queries_for_export``, which takes normalised images
            and returns the logits of classes (N, Q, K + 1) and of masks (N, Q, h, w), and a
            property ``panoptic_settings``, what ``mmattn.export.panoptic_map`` needs, and
            ``mask_stride``, how much smaller than the input masks are.
        output: ``"queries"``.

    Shape:
        - images: (N, 3, H, W) float32 RGB in 0..255
        - class_logits: (N, Q, K + 1) float32
        - mask_logits: (N, Q, h, w) float32
    """

    axes = {
        "class_logits": {0: "batch"},
        "mask_logits": {0: "batch", 2: "mask_height", 3: "mask_width"},
    }

    def __init__(self, model: nn.Module, *, output: str = "queries") -> None:
        super().__init__(model, output)
        self.model: Any  # torch types every attribute of a module as a module
        self.classes = self.class_names(self.model.panoptic_head.num_classes)

    def postprocess(self) -> dict[str, Any]:
        return dict(self.model.panoptic_settings)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.queries_for_export(self.normalise(images))


@torch.no_grad()
def torch_panoptic(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Segment by the model's own path: data preprocessor and ``predict``.

    Args:
        model: Detector in eval mode.
        images: (N, H, W, 3) uint8 RGB

    Returns:
        ``class_logits`` and ``mask_logits`` as in a file; ``map`` (N, H, W), the number of the
        segment of each pixel from 1, 0 for void; and ``labels`` (N, S), the class of each segment,
        -1 behind the last.
    """
    data = preprocessed(model, images)
    classes, masks = model.queries_for_export(data["inputs"])
    results = model.predict(data["inputs"], data["data_samples"], rescale=False)
    void = classes.shape[2] - 1
    found = []
    for result in results:
        ids = result.pred_panoptic_seg.sem_seg[0].cpu().numpy()
        known = {number: label for number, label in labels_of_ids(ids).items() if label != void}
        found.append(SegmentMap.of(ids, known))
    labels = [segments.labels.tolist() for segments in found]
    rows = max(map(len, labels))
    return {
        "class_logits": classes.float().cpu().numpy(),
        "mask_logits": masks.float().cpu().numpy(),
        "map": np.stack([segments.index for segments in found]),
        "labels": np.array([row + [-1] * (rows - len(row)) for row in labels], np.int64),
    }
