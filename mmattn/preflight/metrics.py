"""Refuse metrics that ask for what the model does not predict, or read a file of another form."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

from mmattn.boxes.coco_content import read_content, refuse_form
from mmattn.boxes.coco_rules import MOST_BYTES
from mmattn.errors import ConfigError
from mmattn.type_names import bare_name

_METRICS = ("CocoMetric", "ClasswiseCocoMetric", "LVISMetric")
#: Metric -> form of its annotation file.
_FORMS = {
    "CocoMetric": "instances",
    "ClasswiseCocoMetric": "instances",
    "CocoPanopticMetric": "panoptic",
    "ClasswisePanopticMetric": "panoptic",
}
#: Parts of upstream's package predict masks by a part whose key says so, but for RTMDet-Ins' head.
_UPSTREAM = "mmdet.models."
_OTHERWISE = ("RTMDetInsHead", "RTMDetInsSepBNHead")


def check_mask_metrics(
    model: Mapping[str, Any], evaluator: Any, place: str, filename: str | None = None
) -> None:
    """Refuse a metric of masks where the model is known to have none; in doubt it passes.

    The config's scope must have been entered (``enter_scope``).

    Args:
        model: ``model`` of the config.
        evaluator: Config of a metric, or a list of them.
        place: Config key of the evaluator, such as ``val_evaluator``.
        filename: Path of the config, used in messages.

    Raises:
        ConfigError: The model predicts no masks; the message names the option to set.
    """
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    for index, metric in enumerate(metrics):
        if not isinstance(metric, Mapping) or not _asks_for_masks(metric):
            continue
        key = next((key for key in ("roi_head", "bbox_head") if model.get(key)), None)
        if key is None or not _boxes_alone(model, model[key]):
            continue
        where = f"{place}.{index}" if metrics is evaluator else place
        raise ConfigError(
            f"{filename or 'The config'}: {where}.metric={metric['metric']!r} asks for masks "
            "(segm, boundary), but the model has no mask_head and predicts boxes alone "
            f"({model['type']}, {key} {model[key]['type']}). Set {where}.metric=bbox, "
            "in the config or on the command line, or take a model with masks, such as Mask R-CNN."
        )


def check_metric_file(metric: Mapping[str, Any], where: str) -> None:
    """Refuse a file of instances given to a panoptic metric, and the reverse.

    Args:
        metric: Config of a metric, whose ``ann_file`` exists.
        where: Config key of the metric.

    Raises:
        DataError: The file is of the other form; the message has its first annotation and the fix.
    """
    form = _FORMS.get(bare_name(metric.get("type")))
    path = metric.get("ann_file")
    if form is None or not isinstance(path, str) or not os.path.isfile(path):
        return
    content = read_content(path) if os.path.getsize(path) <= MOST_BYTES else None
    if content is not None:
        refuse_form(content["annotations"][:1], form, f"{where}.ann_file: {path}")


def _asks_for_masks(metric: Mapping[str, Any]) -> bool:
    asked = metric.get("metric")
    kinds = [asked] if isinstance(asked, str) else asked or ()
    masks = "segm" in kinds or "boundary" in kinds
    return masks and str(metric.get("type")).rpartition(".")[2] in _METRICS


def _boxes_alone(model: Mapping[str, Any], head: Any) -> bool:
    """Return whether detector and head are upstream's own and have no part for masks."""
    if not isinstance(head, Mapping):
        return False
    kinds = [_found(model.get("type")), _found(head.get("type"))]
    if any(kind is None or not kind.__module__.startswith(_UPSTREAM) for kind in kinds):
        return False
    parts = [key for part in (model, head) for key, value in part.items() if value is not None]
    return kinds[1].__name__ not in _OTHERWISE and not any("mask" in part for part in parts)


def _found(kind: Any) -> type | None:
    from mmengine.registry import MODELS

    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return kind if inspect.isclass(kind) else None
