"""Which task a config is about, told by its metrics and its model, then by its scope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mmattn.type_names import bare_name

from .detection import DETECTION
from .instance import INSTANCE
from .panoptic import PANOPTIC
from .semantic import SEMANTIC, SEMANTIC_IN_MMDET
from .task import Task

if TYPE_CHECKING:
    from mmengine.config import Config

#: Keys under which a wrapper (test-time augmentation, tracking, self-training) keeps its model.
_MODEL_INSIDE = ("module", "detector", "segmentor")
_MASK_HEADS = ("mask_head", "mask_iou_head", "point_head")
#: Heads that predict masks though their key does not say so.
_MASKS_BY_TYPE = ("RTMDetInsHead", "RTMDetInsSepBNHead")
#: Heads that predict things and stuff by queries; without stuff, they segment instances.
_QUERY_HEADS = ("panoptic_head", "panoptic_fusion_head")


def task_of(cfg: Config | Mapping[str, Any]) -> Task:
    """Return the task of a whole config.

    A config is told by what it measures (panoptic quality, semantic labels), then by the heads of
    its model, whatever its ``default_scope``: ``mmattn.EncoderDecoder`` segments in any scope, and
    mmdet holds detectors as well as three sorts of segmentation. Only a config that shows neither
    goes by its scope.
    """
    model = _innermost(cfg.get("model") or {})
    if "decode_head" in model:  # only mmseg's models and ours have one
        return SEMANTIC
    metrics = list(_metrics(cfg))
    names = {bare_name(metric.get("type")) for metric in metrics}
    if names & {"CocoPanopticMetric", "ClasswisePanopticMetric"}:
        return PANOPTIC
    if names & {"SemSegMetric", "ClasswiseSemSegMetric"}:
        return SEMANTIC_IN_MMDET
    if _segments_instances(model) or any(_asks_for_masks(metric) for metric in metrics):
        return INSTANCE
    if any(key in model for key in _QUERY_HEADS):
        return PANOPTIC
    return SEMANTIC if cfg.get("default_scope") == "mmseg" else DETECTION


def _innermost(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the model inside wrappers."""
    while True:
        inside = next((key for key in _MODEL_INSIDE if isinstance(model.get(key), Mapping)), None)
        if inside is None:
            return model
        model = model[inside]


def _metrics(cfg: Config | Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("val_evaluator", "test_evaluator"):
        evaluator = cfg.get(key) or ()
        for metric in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]:
            if isinstance(metric, Mapping):
                inner = metric.get("metrics")  # an Evaluator around its metrics
                yield from inner if isinstance(inner, (list, tuple)) else [metric]


def _segments_instances(model: Mapping[str, Any]) -> bool:
    if "panoptic_fusion_head" in model:
        head = model.get("panoptic_head")
        while isinstance(head, Mapping) and isinstance(head.get("inner"), Mapping):
            head = head["inner"]  # WithPlugins around it
        return isinstance(head, Mapping) and head.get("num_stuff_classes") == 0
    parts = [model, model.get("roi_head")]
    if any(isinstance(part, Mapping) and part.get(key) for part in parts for key in _MASK_HEADS):
        return True
    head = model.get("bbox_head")
    return isinstance(head, Mapping) and bare_name(head.get("type")) in _MASKS_BY_TYPE


def _asks_for_masks(metric: Mapping[str, Any]) -> bool:
    asked = metric.get("metric")
    kinds = [asked] if isinstance(asked, str) else asked or ()
    return "segm" in kinds or "boundary" in kinds
