"""Test-time augmentation for any config: its own recipe, else each image and its mirror image."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from mmattn.config.walk import leaf_datasets
from mmattn.errors import ConfigError
from mmattn.tasks import Task, task_of
from mmattn.type_names import bare_name, scope_and_name

if TYPE_CHECKING:
    from mmengine.config import Config

_LABELS_ALONE = ("mmattn", "EncoderDecoder")
_KEEPS_ALL_COPIES = ("mmseg", "SegTTAModel")
_FLIPS = [{"type": "RandomFlip", "prob": 0.0}, {"type": "RandomFlip", "prob": 1.0}]


def use_tta(cfg: Config) -> Config:
    """Test with augmentation as ``tta_model`` and ``tta_pipeline`` say, else with a flip.

    Raises:
        ConfigError: The test pipeline has no loading and packing step to put a flip between, or the
            calibration error is asked for: averaged labels have no logits.
    """
    evaluators = cfg.get("test_evaluator") or []
    for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        if evaluator.get("calibration"):
            raise ConfigError(
                f"--tta: test_evaluator.calibration={evaluator['calibration']} compares labels "
                "with their logits, and the average over copies has none. Set calibration=0, or "
                "test without --tta."
            )
    task = task_of(cfg)
    model = cfg.get("tta_model") or _default_model(task)
    for _, dataset in leaf_datasets(cfg.test_dataloader["dataset"], "test_dataloader.dataset"):
        dataset["pipeline"] = cfg.get("tta_pipeline") or _flipped(dataset["pipeline"], task)
    if scope_and_name(cfg.model.get("type"), cfg.get("default_scope")) == _LABELS_ALONE:
        # The copies are averaged by their logits.
        cfg.model.test_cfg = {**(cfg.model.get("test_cfg") or {}), "keep_logits": True}
    if scope_and_name(model.get("type"), cfg.get("default_scope")) == _KEEPS_ALL_COPIES:
        model = {**model, "type": "mmattn.SegTTAModel"}  # equal labels in less memory
    cfg.model = {**model, "module": cfg.model}
    return cfg


def _default_model(task: Task) -> dict:
    if task.tta is None:
        raise ConfigError(
            f"--tta: the results of {task.name} in {task.scope} cannot be averaged yet. Write "
            "tta_model and tta_pipeline, or test without --tta."
        )
    return deepcopy(dict(task.tta.model))


def _flipped(pipeline: list, task: Task) -> list:
    """Return a test pipeline that packs each image and its mirror image."""
    if task.tta is None:
        raise ConfigError(
            f"--tta: the config has a tta_model but no tta_pipeline, and for {task.name} in "
            f"{task.scope} there is no default. Write tta_pipeline."
        )
    last = pipeline[-1].get("type") if pipeline else None
    if bare_name(last) != task.tta.pack:
        raise ConfigError(
            "--tta: the config has no tta_pipeline, and its test pipeline does not end in "
            f"{task.tta.pack}, so none can be made from it. Write tta_pipeline and tta_model."
        )
    *steps, pack = deepcopy(list(pipeline))
    pack = {**pack, **task.tta.pack_options}
    loads = []
    if task.tta.annotations_per_copy:
        loads = [step for step in steps if bare_name(step["type"]) in task.annotation_loaders]
    steps = [step for step in steps if step not in loads]
    branches = [_FLIPS, *([step] for step in loads), [pack]]
    return [*steps, {"type": "TestTimeAug", "transforms": branches}]
