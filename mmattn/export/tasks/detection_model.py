"""A dense detector as a function of images: what is traced, and what parity refers to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmattn.errors import ExportError

from .. import box_selection  # registers torch.ops.mmattn_export
from .detection_heads import Candidates, check_parts, decoding_of
from .detection_settings import TestSettings
from .exportable import ExportableModel

#: Names of a head's outputs by position, one tensor per pyramid level each.
RAW_NAMES = ("cls_scores", "bbox_preds", "score_factors")
FORMS = ("nms", "decoded", "raw")


class DetectionExport(ExportableModel):
    """RGB images in, detections out; normalisation, channel order, decoding and NMS inside.

    Args:
        model: An mmdet ``SingleStageDetector``.
        output: Form of the output: ``"nms"``, ``"decoded"`` or ``"raw"``.

    Shape:
        - images: (N, 3, H, W) float32 RGB in 0..255
        - ``nms``: boxes (N, K, 4), scores (N, K), labels (N, K) int64 and count (N,) int64, the
          number of detections; rows beyond it hold zeros, the score -1 and the label -1. Boxes are
          left, top, right and bottom in pixels of the input.
        - ``decoded``: boxes (N, A, 4) and scores (N, A, classes) of all candidates. Where a head
          multiplies a factor to its class scores (the centerness of FCOS and ATSS), ``score_thr``
          is for the class score alone, as in mmdet: the product is 0 for those below it.
        - ``raw``: what the head returns, ``cls_scores_0`` (N, priors * classes, h, w) and so on.

    Raises:
        ExportError: The model cannot be exported in this form; the message says why.
    """

    def __init__(self, model: nn.Module, *, output: str = "nms") -> None:
        if output not in FORMS:
            raise ExportError(f"--form must be one of {', '.join(FORMS)}, got {output!r}")
        check_detector(model)
        super().__init__(model, output)
        head: Any = model.bbox_head
        self.model: Any  # torch types every attribute of a module as a module
        self.decoding = None
        if output != "raw":
            check_parts(head)
            self.decoding = decoding_of(head)
        self.settings: TestSettings | None = None
        if output == "nms":
            self.settings = TestSettings.of(head.test_cfg, type(head).__name__)
        self.classes = self.class_names(head.num_classes)
        if len(self.classes) != head.num_classes:
            raise ExportError(
                f"the head finds {head.num_classes} classes and the checkpoint names "
                f"{len(self.classes)}: {', '.join(self.classes[:6])}; set "
                "model.bbox_head.num_classes, or test_dataloader.dataset.metainfo"
            )
        self.threshold = float((head.test_cfg or {}).get("score_thr") or 0.0)
        self.axes = self._axes()

    def postprocess(self) -> dict[str, Any]:
        """Return what the metadata say about the selection of detections."""
        head: Any = self.model.bbox_head
        said = self.settings.as_dict() if self.settings else _loose_settings(head.test_cfg)
        if self.decoding is not None:
            said["multi_label"] = not self.decoding.best_class_only
        if self.output == "decoded":
            said["thresholded"] = self._has_factor()
        strides = getattr(getattr(head, "prior_generator", head), "strides", None)
        if strides is not None:
            said["strides"] = [int(s[0] if isinstance(s, tuple) else s) for s in strides]
        return said

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model.bbox_head(self.model.extract_feat(self.normalise(images)))
        if self.decoding is None:
            return tuple(flat_outputs(outputs).values())
        size = images.shape[-2], images.shape[-1]
        groups = self.decoding.decode(outputs, size)
        if self.settings is None:
            scores = torch.cat([final_scores(group, self.threshold) for group in groups], 1)
            return torch.cat([group.boxes for group in groups], 1), scores
        return self._select(groups, self.settings)

    def _select(self, groups: list[Candidates], settings: TestSettings) -> tuple[Tensor, ...]:
        assert self.decoding is not None
        left_out = box_selection.LEFT_OUT
        kept = []
        for group in groups:
            scores = group.scores
            if self.decoding.best_class_only:
                classes = torch.arange(scores.shape[-1], device=scores.device)
                best = classes == scores.argmax(-1, keepdim=True)
                scores = torch.where(best, scores, left_out)
            scores = torch.ops.mmattn_export.keep_top_scores(
                scores, settings.nms_pre, settings.score_threshold
            )
            if group.factor is not None:
                scores = torch.where(scores > left_out / 2, scores * group.factor, left_out)
            if settings.min_box_size is not None:
                sides = group.boxes[..., 2:] - group.boxes[..., :2]
                large = (sides > settings.min_box_size).all(-1, keepdim=True)
                scores = torch.where(large, scores, left_out)
            kept.append(scores)
        return torch.ops.mmattn_export.multiclass_nms(
            torch.cat([g.boxes for g in groups], 1),
            torch.cat(kept, 1),
            settings.iou_threshold,
            settings.max_per_image,
        )

    def _axes(self) -> dict[str, dict[int, str]]:
        batch = {0: "batch"}
        if self.output == "nms":
            return dict.fromkeys(("boxes", "scores", "labels", "count"), batch)
        if self.output == "decoded":
            return {name: {0: "batch", 1: "candidates"} for name in ("boxes", "scores")}
        outputs, _ = self._head_outputs()
        return {
            name: {0: "batch", 2: f"height_{level}", 3: f"width_{level}"}
            for name in flat_outputs(outputs)
            for level in [name.rpartition("_")[2]]
        }

    def _has_factor(self) -> bool:
        """Return whether the head multiplies a factor to its class scores."""
        assert self.decoding is not None
        groups = self.decoding.decode(*self._head_outputs())
        return any(group.factor is not None for group in groups)

    @torch.no_grad()
    def _head_outputs(self) -> tuple[Any, tuple[int, int]]:
        """Return what the head says of a small black image, and the size of that."""
        device = next(self.model.parameters()).device
        side = -(-128 // self.size_divisor) * self.size_divisor
        was_training = self.model.training
        self.model.eval()
        features = self.model.extract_feat(torch.zeros(1, 3, side, side, device=device))
        outputs = self.model.bbox_head(features)
        self.model.train(was_training)
        return outputs, (side, side)


def check_detector(model: nn.Module) -> None:
    """Raise an ExportError unless ``model`` is a detector with one dense head, of boxes alone."""
    from mmdet.models.detectors import SingleStageDetector

    name = type(model).__name__
    if not isinstance(model, SingleStageDetector) or getattr(model, "bbox_head", None) is None:
        raise ExportError(
            f"{name} cannot be exported: export writes detectors with one dense head "
            "(SingleStageDetector: YOLOX, RTMDet, RetinaNet, ATSS, FCOS and the like), not those "
            "of two stages or with queries"
        )
    if type(model).predict is not SingleStageDetector.predict:
        raise ExportError(f"{name} cannot be exported: it predicts in a way of its own")
    if getattr(model, "mask_head", None) is not None or "Ins" in type(model.bbox_head).__name__:
        raise ExportError(f"{name} cannot be exported: it predicts masks, and export writes boxes")


def flat_outputs(outputs: Any) -> dict[str, Tensor]:
    """Return a head's outputs by name, level after level; those that are None are left out."""
    flat: dict[str, Tensor] = {}
    for position, levels in enumerate(outputs):
        name = RAW_NAMES[position] if position < len(RAW_NAMES) else f"output{position}"
        for level, values in enumerate(levels):
            if values is not None:
                flat[f"{name}_{level}"] = values
    return flat


@torch.no_grad()
def torch_detections(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    """Detect by the model's own path: data preprocessor, ``predict`` of the head.

    Args:
        model: An mmdet ``SingleStageDetector`` in eval mode.
        images: (N, H, W, 3) uint8 RGB

    Returns:
        ``boxes`` (N, M, 4) in pixels of ``images``, ``scores``, ``labels`` and ``count`` as in a
        file of the form ``nms``, M being the largest count; ``image_size`` (N, 2), height and
        width; the outputs of the head by name; and of a head that can be exported with its
        decoding, all boxes before NMS, ``candidate_boxes`` (N, A, 4) and ``candidate_scores``
        (N, A, classes).
    """
    from mmdet.structures import DetDataSample

    device = next(model.parameters()).device
    height, width = images.shape[1:3]
    samples = []
    for _ in images:
        meta = {"img_shape": (height, width), "ori_shape": (height, width)}
        samples.append(DetDataSample(metainfo={**meta, "scale_factor": (1.0, 1.0)}))
    bgr = list(torch.from_numpy(images).to(device).permute(0, 3, 1, 2).flip(1))
    data = model.data_preprocessor({"inputs": bgr, "data_samples": samples}, False)
    features = model.extract_feat(data["inputs"])
    results = model.bbox_head.predict(features, data["data_samples"], rescale=False)
    rows = max((len(result) for result in results), default=0)
    count = len(images)
    found = {
        "boxes": np.zeros((count, rows, 4), np.float32),
        "scores": np.full((count, rows), box_selection.LEFT_OUT, np.float32),
        "labels": np.full((count, rows), -1, np.int64),
        "count": np.array([len(result) for result in results], np.int64),
        "image_size": np.array([[height, width]] * count, np.int64),
    }
    for index, result in enumerate(results):
        boxes = getattr(result.bboxes, "tensor", result.bboxes)
        found["boxes"][index, : len(result)] = boxes.cpu().numpy()
        found["scores"][index, : len(result)] = result.scores.cpu().numpy()
        found["labels"][index, : len(result)] = result.labels.cpu().numpy()
    outputs = model.bbox_head(features)
    raw = flat_outputs(outputs)
    try:
        check_parts(model.bbox_head)
        groups = decoding_of(model.bbox_head).decode(outputs, (height, width))
    except ExportError:
        pass  # no form but raw was exported
    else:
        raw["candidate_boxes"] = torch.cat([group.boxes for group in groups], 1)
        threshold = float((model.bbox_head.test_cfg or {}).get("score_thr") or 0.0)
        raw["candidate_scores"] = torch.cat([final_scores(g, threshold) for g in groups], 1)
    return {**found, **{name: values.cpu().numpy() for name, values in raw.items()}}


def final_scores(group: Candidates, threshold: float) -> Tensor:
    """Return the scores of all candidates that are selected outside of the file, 0 for none.

    Args:
        group: Candidates.
        threshold: Threshold of the scores before they are multiplied by their factor.
    """
    if group.factor is None:
        return group.scores
    product = group.scores * group.factor
    return torch.where(group.scores > threshold, product, torch.zeros_like(product))


def _loose_settings(test_cfg: Any) -> dict[str, Any]:
    """Return what of a test_cfg a file without NMS can say to whoever does it outside."""
    cfg = dict(test_cfg or {})
    nms = dict(cfg.get("nms") or {})
    return {
        "score_threshold": float(cfg.get("score_thr") or 0.0),
        "iou_threshold": nms.get("iou_threshold"),
        "nms_pre": int(cfg.get("nms_pre") or -1),
        "max_per_image": int(cfg.get("max_per_img") or -1),
        "min_box_size": cfg.get("min_bbox_size", -1),
    }
