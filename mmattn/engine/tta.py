"""Test-time augmentation for any config: its own recipe, else each image and its mirror image."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from mmattn.config.data_overrides import LOAD_MASK
from mmattn.config.overrides import is_segmentation, scope_and_name
from mmattn.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

# mmdet's own defaults for a config without tta_model.
_DETECTION_TTA = {
    "type": "DetTTAModel",
    "tta_cfg": {"nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100},
}
_LABELS_ALONE = ("mmattn", "EncoderDecoder")
_KEEPS_ALL_COPIES = ("mmseg", "SegTTAModel")
_META = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")
_FLIPS = [{"type": "RandomFlip", "prob": 0.0}, {"type": "RandomFlip", "prob": 1.0}]


def use_tta(cfg: Config) -> None:
    """Test with augmentation as ``tta_model`` and ``tta_pipeline`` say, else with a flip.

    Raises:
        ConfigError: The test pipeline has no loading and packing step to put a flip between, or the
            calibration error is asked for: averaged labels have no logits.
    """
    from mmattn.preflight.data import leaf_datasets

    evaluators = cfg.get("test_evaluator") or []
    for one in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        if one.get("calibration"):
            raise ConfigError(
                f"--tta: test_evaluator.calibration={one['calibration']} compares labels with "
                "their logits, and the average over copies has none. Set calibration=0, or test "
                "without --tta."
            )
    default_model, default_pipeline = (
        ({"type": "mmattn.SegTTAModel"}, _flipped_segmentation)
        if is_segmentation(cfg)
        else (_DETECTION_TTA, _flipped_detection)
    )
    model = cfg.get("tta_model") or deepcopy(default_model)
    for _, dataset in leaf_datasets(cfg.test_dataloader["dataset"], "test_dataloader.dataset"):
        dataset["pipeline"] = cfg.get("tta_pipeline") or default_pipeline(dataset["pipeline"])
    if scope_and_name(cfg.model.get("type"), cfg.get("default_scope")) == _LABELS_ALONE:
        # The copies are averaged by their logits.
        cfg.model.test_cfg = {**(cfg.model.get("test_cfg") or {}), "keep_logits": True}
    if scope_and_name(model.get("type"), cfg.get("default_scope")) == _KEEPS_ALL_COPIES:
        model = {**model, "type": "mmattn.SegTTAModel"}  # equal labels in less memory
    cfg.model = {**model, "module": cfg.model}


def _flipped_detection(pipeline: list) -> list:
    *steps, pack = _packed(pipeline, "PackDetInputs")
    # Every augmentation has to tell how to undo it.
    pack = {**pack, "meta_keys": _META}
    return [*steps, {"type": "TestTimeAug", "transforms": [_FLIPS, [pack]]}]


def _flipped_segmentation(pipeline: list) -> list:
    *steps, pack = _packed(pipeline, "PackSegInputs")
    # The ground truth is loaded after the flip: it is compared in the image's own orientation.
    loads = [step for step in steps if step["type"] in ("LoadAnnotations", LOAD_MASK)]
    steps = [step for step in steps if step not in loads]
    branches = [_FLIPS, *([step] for step in loads), [pack]]
    return [*steps, {"type": "TestTimeAug", "transforms": branches}]


def _packed(pipeline: list, pack: str) -> list:
    if not pipeline or str(pipeline[-1].get("type")).rpartition(".")[2] != pack:
        raise ConfigError(
            f"--tta: the config has no tta_pipeline, and its test pipeline does not end in {pack}, "
            "so none can be made from it. Write tta_pipeline and tta_model."
        )
    return deepcopy(list(pipeline))
