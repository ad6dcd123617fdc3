"""Test-time augmentation for any config: its own recipe, else each image and its mirror image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mmattn.config.walk import leaf_datasets, rewrite, walk
from mmattn.errors import ConfigError
from mmattn.tasks import Task, task_of
from mmattn.type_names import bare_name, scope_and_name

if TYPE_CHECKING:
    from mmengine.config import Config

_OUR_ENCODER_DECODER = ("mmattn", "EncoderDecoder")
_MMSEG_TTA_MODEL = ("mmseg", "SegTTAModel")
#: Steps of a test pipeline that set the size of the image, and those that fit it afterwards.
_RESIZES = ("Resize", "ResizeShortestEdge")
_FIT_TO_SIZE = ("ResizeToMultiple", "Pad")
_FLIPS = [{"type": "RandomFlip", "prob": 0.0}, {"type": "RandomFlip", "prob": 1.0}]


def use_tta(cfg: Config) -> Config:
    """Test with augmentation as ``tta_model`` and ``tta_pipeline`` say, else with a flip.

    A ``scale_factor`` in ``tta_pipeline`` is a ratio of the size that the test pipeline makes, so
    that the copy of ratio 1 is the image of the plain test. (mmseg takes it of the stored image:
    for images of another size than the training's these are sizes that the network never saw.)

    Raises:
        ConfigError: The test pipeline has no loading and packing step to put a flip between, or the
            calibration error is asked for: averaged labels have no logits.
    """
    evaluators = cfg.get("test_evaluator") or []
    for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        if evaluator.get("calibration"):
            raise ConfigError(
                f"--tta: test_evaluator.calibration={evaluator['calibration']} needs logits, which "
                "--tta does not return. Set calibration=0, or test without --tta."
            )
    task = task_of(cfg)
    model = cfg.get("tta_model") or _default_model(task)
    for _, dataset in leaf_datasets(cfg.test_dataloader["dataset"], "test_dataloader.dataset"):
        own = cfg.get("tta_pipeline")
        dataset["pipeline"] = (
            _sized_as(dataset["pipeline"], own) if own else _flipped(dataset["pipeline"], task)
        )
    if scope_and_name(cfg.model.get("type"), cfg.get("default_scope")) == _OUR_ENCODER_DECODER:
        # The copies are averaged by their logits.
        cfg.model.test_cfg = {**(cfg.model.get("test_cfg") or {}), "keep_logits": True}
    if scope_and_name(model.get("type"), cfg.get("default_scope")) == _MMSEG_TTA_MODEL:
        model = {**model, "type": "mmattn.SegTTAModel"}  # equal labels in less memory
    cfg.model = {**model, "module": cfg.model}
    return cfg


def _sized_as(pipeline: Sequence[Mapping], tta_pipeline: Sequence[Mapping]) -> list:
    """Return ``tta_pipeline`` whose scale factors multiply the size of ``pipeline``.

    What follows the resizing there, such as padding to a multiple, follows each one here too.
    """
    types = [bare_name(step.get("type")) for step in pipeline]
    first = next((index for index, name in enumerate(types) if name in _RESIZES), None)
    if first is None:
        return deepcopy(list(tta_pipeline))
    resize = pipeline[first]
    after = [
        step
        for step, name in zip(pipeline[first + 1 :], types[first + 1 :], strict=True)
        if name in _FIT_TO_SIZE
    ]
    present = {bare_name(step.get("type")) for _, step in walk(tta_pipeline) if _is_step(step)}
    after = [step for step in after if bare_name(step.get("type")) not in present]

    def change(path: str, value: Any) -> Any:
        if isinstance(value, list) and any(_is_ratio(step) for step in value):
            return [_scaled(resize, s["scale_factor"]) if _is_ratio(s) else s for s in value]
        return value

    result = []
    for step in rewrite(list(tta_pipeline), change):
        if after and bare_name(step.get("type")) == "TestTimeAug":
            branches = list(step["transforms"])
            place = next((i for i, b in enumerate(branches) if _resizes(b)), None)
            if place is not None:
                extra = [[deepcopy(dict(one))] for one in after]
                step["transforms"] = [*branches[: place + 1], *extra, *branches[place + 1 :]]
        result.append(step)
    return result


def _is_step(value: Any) -> bool:
    return isinstance(value, Mapping) and "type" in value


def _is_ratio(step: Any) -> bool:
    return _is_step(step) and bare_name(step["type"]) == "Resize" and bool(step.get("scale_factor"))


def _resizes(branch: Any) -> bool:
    return any(_is_step(step) and bare_name(step["type"]) in _RESIZES for step in branch)


def _scaled(resize: Mapping, ratio: Any) -> dict:
    """Return a resizing step whose result is ``ratio`` times as large (one number, or w and h)."""
    step = deepcopy(dict(resize))
    ratios = tuple(ratio) if isinstance(ratio, (list, tuple)) else (ratio, ratio)
    for key in ("scale", "max_size", "scale_factor"):
        size = step.get(key)
        if isinstance(size, (list, tuple)):
            pairs = zip(size, ratios, strict=True)
            scaled = tuple(value * r for value, r in pairs)
        elif isinstance(size, (int, float)):
            scaled = (size * max(ratios),)
        else:
            continue
        if key != "scale_factor":
            scaled = tuple(int(value + 0.5) for value in scaled)
        step[key] = scaled if isinstance(size, (list, tuple)) else scaled[0]
    return step


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
    meta_keys = (*pack.get("meta_keys", ()), *task.tta.pack_options.get("meta_keys", ()))
    pack = {**pack, **task.tta.pack_options}
    if meta_keys:
        pack["meta_keys"] = tuple(dict.fromkeys(meta_keys))
    loads = []
    if task.tta.annotations_per_copy:
        loads = [step for step in steps if bare_name(step["type"]) in task.annotation_loaders]
    steps = [step for step in steps if step not in loads]
    branches = [_FLIPS, *([step] for step in loads), [pack]]
    return [*steps, {"type": "TestTimeAug", "transforms": branches}]
