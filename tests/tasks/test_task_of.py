"""Which task a config is about, for real configs and for scopes that say nothing."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from mmengine.config import Config

from mmattn.config import load_config
from mmattn.tasks import (
    DETECTION,
    INSTANCE,
    PANOPTIC,
    SEMANTIC,
    SEMANTIC_IN_MMDET,
    TASKS,
    Task,
    task_of,
)

CONFIGS = {
    "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py": DETECTION,
    "mmdet::yolox/yolox_tiny_8xb8-300e_coco.py": DETECTION,
    "mmdet::bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot17halftrain_"
    "test-mot17halfval.py": DETECTION,
    "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py": INSTANCE,
    "mmdet::solov2/solov2_r50_fpn_1x_coco.py": INSTANCE,
    "mmdet::yolact/yolact_r50_1xb8-55e_coco.py": INSTANCE,
    "mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py": INSTANCE,
    "mmdet::queryinst/queryinst_r50_fpn_1x_coco.py": INSTANCE,
    "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py": INSTANCE,
    "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py": PANOPTIC,
    "mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py": PANOPTIC,
    "mmdet::maskformer/maskformer_r50_ms-16xb1-75e_coco.py": PANOPTIC,
    "mmdet::_base_/datasets/coco_semantic.py": SEMANTIC_IN_MMDET,
    "mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py": SEMANTIC,
    "mmseg::mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py": SEMANTIC,
    "mmseg::san/san-vit-b16_coco-stuff164k-640x640.py": SEMANTIC,
    "configs/ccnet/ccnet_mobilenetv2_1xb8-1k_camvid-180x240.py": SEMANTIC,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_real_configs(name: str, repo) -> None:
    path = name if "::" in name else repo / name
    assert task_of(load_config(path)) == CONFIGS[name]


@pytest.mark.parametrize("scope", ["mmattn", "mmdet", None])
def test_a_head_of_mmseg_segments_in_any_scope(scope: str | None) -> None:
    head = {"type": "mmseg.FCNHead", "num_classes": 3}
    cfg = {"default_scope": scope, "model": {"type": "mmattn.EncoderDecoder", "decode_head": head}}
    assert task_of(cfg) == SEMANTIC
    assert task_of({**cfg, "model": {"type": "X", "module": cfg["model"]}}) == SEMANTIC


def test_without_stuff_queries_segment_instances() -> None:
    def model(stuff: int) -> dict:
        head = {"num_things_classes": 80, "num_stuff_classes": stuff}
        return {"panoptic_head": head, "panoptic_fusion_head": head}

    assert task_of({"model": model(0)}) == INSTANCE
    assert task_of({"model": model(53)}) == PANOPTIC


def test_a_metric_of_masks_is_one_of_instances() -> None:
    metrics = [{"type": "CocoMetric", "metric": ["bbox", "segm"]}]
    assert task_of({"val_evaluator": metrics}) == INSTANCE
    assert task_of({"val_evaluator": {"type": "Evaluator", "metrics": metrics}}) == INSTANCE
    assert task_of({"val_evaluator": {"type": "CocoMetric", "metric": "bbox"}}) == DETECTION


def test_a_bare_scope_is_all_there_is() -> None:
    assert task_of(Config({"default_scope": "mmseg"})) == SEMANTIC
    assert task_of(Config({"default_scope": "mmdet"})) == DETECTION
    assert task_of({}) == DETECTION


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.scope}-{task.name}")
def test_types_of_a_task_are_registered(task: Task) -> None:
    """A class that upstream renames would otherwise be missed at the end of a test run."""
    from mmengine import registry
    from mmengine.registry import init_default_scope

    from mmattn.config.registry_scope import enter_scope

    enter_scope(Config({"default_scope": task.scope}))
    kinds = {
        "METRICS": [
            task.dump_metric,
            *task.metrics.values(),
            *(".".join(key) for key in task.metrics),
        ],
        "VISUALIZERS": [task.visualizer],
        "HOOKS": [task.visualization_hook],
        "TRANSFORMS": [*task.annotation_loaders, task.folder_loader, *task.target_steps],
        "DATASETS": [task.folder_dataset],
        "MODELS": [task.tta and task.tta.model["type"], *task.heads_of_other_counts],
    }
    ours = {"LoadFolderMask", "GenerateEdgeMap"}  # written with their scope in configs
    try:
        for kind, names in kinds.items():
            with getattr(registry, kind).switch_scope_and_registry(None) as found:
                for name in filter(None, names):
                    assert found.get(f"mmattn.{name}" if name in ours else name), name
    finally:
        init_default_scope("mmengine")


def test_head_keys_are_regular_expressions() -> None:
    for task in TASKS:
        assert all(map(re.compile, task.heads))
        assert len(fields(task)) == len({f.name for f in fields(task)})


def test_a_task_is_data() -> None:
    with pytest.raises(AttributeError):
        SEMANTIC.scope = "mmdet"
