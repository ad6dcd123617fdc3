"""Upgrade the model: its data preprocessor, pretrained weights, and settings that moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmattn.config.walk import walk
from mmattn.type_names import bare_name

from .notes import Notes
from .pipelines import Preprocessing

#: Detectors whose parts were put together anew.
_RESTRUCTURED = ("DETR", "DeformableDETR", "ConditionalDETR", "DABDETR", "DINO")
_STRIDE = 32  # YOLOX counted its sizes in steps of this


def upgrade_model(
    old: Mapping[str, Any], scope: str, preprocessing: Preprocessing, notes: Notes
) -> dict[str, Any]:
    """Return today's model.

    Args:
        old: The whole old config.
        scope: ``mmdet`` or ``mmseg``.
        preprocessing: What the pipelines left to the model.
        notes: Receives what could not be translated.
    """
    model = dict(old.get("model") or {})
    name = bare_name(model.get("type"))
    if name in _RESTRUCTURED:
        why = "transformers are encoder, decoder and positional_encoding of the detector now"
        notes.untranslated("model", {"type": name}, f"{why}; take today's config as the base")
    for key in ("train_cfg", "test_cfg"):
        given = old.get(key)  # of mmdet before 2.8
        if key not in model and isinstance(given, Mapping):
            model[key] = given
    pretrained = model.get("pretrained")
    if scope == "mmdet" and "pretrained" in model:
        del model["pretrained"]
        if pretrained and isinstance(model.get("backbone"), Mapping):
            weights = {"type": "Pretrained", "checkpoint": pretrained}
            model["backbone"] = {**model["backbone"], "init_cfg": weights}
    augments = _batch_augments(model) if name == "YOLOX" else []
    settings = dict(preprocessing.settings)
    kind = "DetDataPreprocessor" if scope == "mmdet" else "SegDataPreProcessor"
    if scope == "mmdet" and with_mask(old):
        settings["pad_mask"] = True
    if augments:
        settings.setdefault("pad_size_divisor", _STRIDE)
        settings["batch_augments"] = augments
    first = {"type": model.pop("type", None), "data_preprocessor": {"type": kind, **settings}}
    return {**first, **model}


def with_mask(old: Mapping[str, Any]) -> bool:
    """Return whether a detector predicts masks of instances."""
    model = old.get("model") or {}
    return any(path.endswith("mask_head") and value for path, value in walk(model, "model"))


def _batch_augments(model: dict[str, Any]) -> list[dict[str, Any]]:
    """Take the random sizes of YOLOX's batches out of the model."""
    model.pop("input_size", None)
    sizes = model.pop("random_size_range", (15, 25))
    interval = model.pop("random_size_interval", 10)
    return [
        {
            "type": "BatchSyncRandomResize",
            "random_size_range": tuple(size * _STRIDE for size in sizes),
            "size_divisor": _STRIDE,
            "interval": interval,
        }
    ]
