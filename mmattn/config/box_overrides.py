"""Use own boxes, instance masks or panoptic maps with any config of mmdet: ``data=DIR``.

``mmattn.FolderDetDataset`` takes the place of the config's datasets. Its metrics read no annotation
file any more: the ground truth comes with the images, in the form of COCO.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError
from mmattn.tasks import DETECTION, INSTANCE, PANOPTIC, Task
from mmattn.type_names import bare_name

from .walk import innermost_dataset, rewrite, walk

if TYPE_CHECKING:
    from mmengine.config import Config

logger = logging.getLogger("mmattn")

#: Settings of a config's own dataset that hold for any other.
KEPT = ("filter_cfg", "test_mode", "return_classes", "caption_prompt")
#: What mmdet packs where a config does not say.
_PACKED = (
    *("img_id", "img_path", "ori_shape", "img_shape"),
    *("scale_factor", "flip", "flip_direction"),
)
#: Fields of an entry that a metric takes its ground truth from.
_TRUTH = {
    DETECTION.name: ("instances",),
    INSTANCE.name: ("instances",),
    PANOPTIC.name: ("segments_info", "seg_map_path", "void_segments"),
}
_COCO = ("CocoMetric", "ClasswiseCocoMetric")
_PANOPTIC = ("CocoPanopticMetric", "ClasswisePanopticMetric")
#: Metrics that need no annotation file: they write predictions, or compare with packed boxes.
_WITHOUT_FILE = (
    *("DumpDetResults", "DumpResults", "DumpProposals"),
    *("VOCMetric", "ClasswiseVOCMetric"),
)
_FILES = ("ann_file", "seg_prefix")


def kept_settings(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the innermost dataset that hold for the new one as well."""
    inner = innermost_dataset(dataset)
    return {key: inner[key] for key in KEPT if inner.get(key)}


def refuse_foreign_training(cfg: Config, folder: str) -> None:
    """Refuse configs that learn from more than one dataset of boxes.

    Raises:
        ConfigError: The config mixes sources: images without labels, films, or texts.
    """
    sampler = (cfg.get("train_dataloader") or {}).get("sampler") or {}
    if bare_name(sampler.get("type")) in ("GroupMultiSourceSampler", "MultiSourceSampler"):
        raise ConfigError(
            f"data={folder}: {cfg.filename} learns from two datasets at once, with and without "
            "labels (train_dataloader.sampler): set the paths of both by their own keys"
        )
    steps = [bare_name(v.get("type")) for _, v in walk(cfg.get("val_dataloader")) if _is_step(v)]
    if steps and "PackDetInputs" not in steps:
        raise ConfigError(
            f"data={folder}: the validation of {cfg.filename} does not pack its images with "
            "PackDetInputs, so that its metric would have no ground truth. "
            f"data_root={folder} says where the config's own dataset lies"
        )


def use_box_metrics(cfg: Config, task: Task) -> None:
    """Let the metrics compare with the ground truth of the images, and pack it with them."""
    fields = _TRUTH[task.name]
    for key in ("val_dataloader", "test_dataloader", "tta_pipeline"):
        if cfg.get(key) is not None:
            cfg[key] = rewrite(cfg[key], _packing(fields))
    for key in ("val_evaluator", "test_evaluator"):
        if cfg.get(key):
            metrics = cfg[key] if isinstance(cfg[key], (list, tuple)) else [cfg[key]]
            changed = [_metric(one, task, f"{key}[{i}]") for i, one in enumerate(metrics)]
            left = [one for index, one in enumerate(changed) if one and one not in changed[:index]]
            cfg[key] = left if isinstance(cfg[key], (list, tuple)) and len(left) != 1 else left[0]
    _rename_best(cfg, task)


def read_any_mask(path: str, value: Any) -> Any:
    """Let pipelines read run lengths beside polygons, for ``rewrite``.

    ``poly2mask=False`` silently leaves every object out whose mask is not of polygons.
    """
    if isinstance(value, dict) and value.get("poly2mask") is False:
        value["poly2mask"] = True
    return value


def _packing(fields: tuple[str, ...]) -> Callable[[str, Any], Any]:
    def change(path: str, value: Any) -> Any:
        if _is_step(value) and bare_name(value["type"]) == "PackDetInputs":
            keys = dict.fromkeys((*(value.get("meta_keys") or _PACKED), *fields))
            return {**value, "meta_keys": tuple(keys)}
        return value

    return change


def _metric(metric: Any, task: Task, where: str) -> dict[str, Any] | None:
    """Return the metric that takes a metric's place; None for none."""
    name = bare_name(metric.get("type"))
    bare = {key: value for key, value in metric.items() if key not in _FILES}
    if task is PANOPTIC:
        if name in _PANOPTIC:
            return {**bare, "type": "mmattn.ClasswisePanopticMetric"}
        if name in _COCO:
            logger.warning(
                "%s (%s) is left out: panoptic maps hold no boxes. The panoptic metric compares "
                "predicted instances with the things of the maps",
                where,
                name,
            )
            return None
    elif name in _COCO:
        return bare
    if name in _WITHOUT_FILE:
        return bare
    ours: dict[str, Any] = {"type": "mmattn.ClasswiseCocoMetric", "metric": ["bbox"]}
    if task is INSTANCE:
        ours["metric"] = ["bbox", "segm"]
    if task is PANOPTIC:
        ours = {"type": "mmattn.ClasswisePanopticMetric"}
    logger.warning(
        "%s: %s is made for the config's own data; %s takes its place", where, name, ours["type"]
    )
    return ours


def _rename_best(cfg: Config, task: Task) -> None:
    """Keep ``save_best`` on a metric that is there."""
    hook = (cfg.get("default_hooks") or {}).get("checkpoint") or {}
    best = hook.get("save_best")
    if not isinstance(best, str) or best == "auto":
        return
    names = {bare_name(v.get("type")) for _, v in walk(cfg.get("val_evaluator")) if _is_step(v)}
    prefix = "coco_panoptic/" if task is PANOPTIC else "coco/"
    ours = names & {*_COCO, "ClasswisePanopticMetric"}
    if ours and not best.startswith(prefix):
        new = prefix + task.default_metric
        logger.warning(
            "default_hooks.checkpoint.save_best=%s is no metric of this data: %s", best, new
        )
        hook["save_best"] = new


def _is_step(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("type"), (str, type))
