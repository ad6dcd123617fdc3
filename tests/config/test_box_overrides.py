"""Promise: own boxes, masks and panoptic maps enter any config of mmdet by ``data=DIR``."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from mmattn.config import load_config
from mmattn.config.walk import innermost_dataset, leaf_datasets, walk
from mmattn.engine.tta import use_tta
from mmattn.errors import ConfigError
from mmattn.preflight.auto_classes import fill_class_counts
from mmattn.preflight.config_keys import unused_blocks
from tests.support.box_folders import write_coco, write_panoptic, write_voc

YOLOX = "mmdet::yolox/yolox_tiny_8xb8-300e_coco.py"
SHAPES = "mmattn::mask2former/mask2former_r18_1xb4-20e_shapes-instance-256x192.py"


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_voc(tmp_path_factory.mktemp("own") / "voc"))


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_coco(tmp_path_factory.mktemp("own") / "coco", masks="rle"))


@pytest.fixture(scope="module")
def panoptic(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_panoptic(tmp_path_factory.mktemp("own") / "panoptic"))


def counts(cfg: Any) -> dict[str, int]:
    """Every number of classes in the model."""
    return {
        path.removeprefix("model."): value
        for path, value in walk(cfg.model.to_dict(), "model")
        if path.endswith("_classes")
    }


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        (YOLOX, ["bbox_head.num_classes"]),
        ("retinanet/retinanet_r50_fpn_1x_coco.py", ["bbox_head.num_classes"]),
        ("pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py", ["roi_head.bbox_head.num_classes"]),
        ("dino/dino-4scale_r50_8xb2-12e_coco.py", ["bbox_head.num_classes"]),
        (
            "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
            [f"roi_head.bbox_head[{i}].num_classes" for i in range(3)],
        ),
        ("yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py", ["bbox_head.num_classes"]),
        ("sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py",
         [f"roi_head.bbox_head[{i}].num_classes" for i in range(6)]),
    ],
)  # fmt: skip
def test_every_head_of_a_detector_counts_the_new_classes(
    config: str, heads: list[str], boxes: str
) -> None:
    config = config if "::" in config else f"mmdet::{config}"
    cfg = fill_class_counts(load_config(config, {"data": boxes}))
    found = counts(cfg)
    assert {key: found[key] for key in heads} == dict.fromkeys(heads, 3)
    assert set(found.values()) <= {3, 1}  # 1: proposals, whatever the classes
    for split, name in {"train": "train", "val": "val", "test": "val"}.items():
        dataset = innermost_dataset(cfg[f"{split}_dataloader"].dataset)
        assert (dataset["type"], dataset["split"]) == ("mmattn.FolderDetDataset", name)
        assert dataset["targets"] == "boxes"
        assert dataset.get("test_mode", False) == (split != "train")


def test_instance_heads_and_any_form_of_masks(masks: str) -> None:
    cfg = load_config("mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py", {"data": masks})
    (_, leaf), *_ = leaf_datasets(cfg.train_dataloader.dataset, "")
    (loader,) = [step for step in leaf["pipeline"] if step["type"] == "LoadAnnotations"]
    assert (leaf["targets"], loader["poly2mask"]) == ("masks", True)
    assert cfg.custom_hooks[1]["switch_pipeline"][0]["type"] == "mmattn.LoadImageFromFile"
    cfg = load_config("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", {"data": masks})
    found = counts(fill_class_counts(cfg))
    assert found["roi_head.mask_head.num_classes"] == found["roi_head.bbox_head.num_classes"] == 3
    cfg = load_config("mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py", {"data": masks})
    filled = fill_class_counts(cfg)
    assert set(counts(filled).values()) == {3, 0}  # no stuff
    assert filled.model.panoptic_head.loss_cls.class_weight == [1.0] * 3 + [0.1]


def test_panoptic_heads_count_things_and_stuff(
    panoptic: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="mmattn"):
        cfg = load_config(
            "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py", {"data": panoptic}
        )
    assert "val_evaluator[1] (CocoMetric) is left out" in caplog.text
    filled = fill_class_counts(cfg)
    assert set(counts(filled).values()) == {3, 1}
    assert filled.model.panoptic_head.loss_cls.class_weight == [1.0] * 4 + [0.1]
    assert cfg.val_evaluator["type"] == "mmattn.ClasswisePanopticMetric"
    assert {"segments_info", "seg_map_path"} <= set(
        cfg.val_dataloader.dataset.pipeline[-1].meta_keys
    )
    cfg = load_config("mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py", {"data": panoptic})
    found = counts(fill_class_counts(cfg))
    assert found["roi_head.bbox_head.num_classes"] == found["roi_head.mask_head.num_classes"] == 3
    assert found["semantic_head.num_stuff_classes"] == 1


def test_wrappers_and_their_pipelines_stay(boxes: str) -> None:
    before, cfg = load_config(YOLOX), load_config(YOLOX, {"data": boxes})
    old, new = before.train_dataloader.dataset, cfg.train_dataloader.dataset
    assert new.type == "MultiImageMixDataset" and new.pipeline == old.pipeline
    assert [s.type for s in new.dataset.pipeline] == ["mmattn.LoadImageFromFile", "LoadAnnotations"]
    assert new.dataset.filter_cfg == old.dataset.filter_cfg


def test_variables_of_the_file_follow(boxes: str) -> None:
    """Else the config that a run leaves would hold settings that nothing uses."""
    cfg = load_config(YOLOX.replace("tiny", "s"), {"data": boxes})
    assert cfg.train_dataset == cfg.train_dataloader.dataset
    assert cfg.train_pipeline == cfg.train_dataloader.dataset.pipeline
    assert cfg.test_pipeline == cfg.val_dataloader.dataset.pipeline


def test_names_of_classes_that_the_folder_has_itself_leave_the_file(masks: str) -> None:
    cfg = load_config(SHAPES, {"data": masks})
    assert "metainfo" in load_config(SHAPES)
    assert "metainfo" not in cfg
    assert unused_blocks(cfg) == []


def test_metrics_take_the_truth_from_the_images(boxes: str) -> None:
    cfg = load_config(YOLOX, {"data": boxes})
    for key in ("val_evaluator", "test_evaluator"):
        assert cfg[key].type == "CocoMetric" and "ann_file" not in cfg[key]
    for key in ("val_dataloader", "test_dataloader"):
        assert "instances" in cfg[key].dataset.pipeline[-1].meta_keys
    packed = [step for _, step in walk(cfg.tta_pipeline) if isinstance(step, dict)]
    packed = [step for step in packed if step.get("type") == "PackDetInputs"]
    assert packed and all("instances" in step["meta_keys"] for step in packed)
    own = load_config("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", {"data": boxes})
    (_, leaf), *_ = leaf_datasets(use_tta(own).test_dataloader.dataset, "")
    pack = leaf["pipeline"][-1]["transforms"][-1][0]
    assert {"instances", "flip_direction"} <= set(pack["meta_keys"])


def test_a_metric_for_the_old_data_alone_is_replaced_and_told(
    masks: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = "mmdet::lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py"
    with caplog.at_level(logging.WARNING, logger="mmattn"):
        cfg = load_config(config, {"data": masks})
    assert cfg.val_evaluator == {"type": "mmattn.ClasswiseCocoMetric", "metric": ["bbox", "segm"]}
    assert "LVISMetric is made for the config's own data" in caplog.text


def test_settings_of_the_data(boxes: str) -> None:
    cfg = load_config(
        YOLOX, {"data": boxes, "data.metainfo.classes": ["rod", "cell"], "data.layout": "voc"}
    )
    assert fill_class_counts(cfg).model.bbox_head.num_classes == 2
    with pytest.raises(ConfigError, match=r"layout='vok': give one of .* Did you mean 'voc'"):
        fill_class_counts(load_config(YOLOX, {"data": boxes, "data.layout": "vok"}))
    with pytest.raises(ConfigError, match=r"unexpected argument 'layou' .*mean 'layout'"):
        fill_class_counts(load_config(YOLOX, {"data": boxes, "data.layou": "voc"}))


def test_two_sources_are_refused(boxes: str) -> None:
    config = "mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py"
    with pytest.raises(ConfigError, match="learns from two datasets at once"):
        load_config(config, {"data": boxes})


def test_semantic_maps_beside_objects_are_refused(masks: str) -> None:
    cfg = load_config("mmdet::htc/htc_r50_fpn_1x_coco.py", {"data": masks})
    with pytest.raises(ConfigError, match="take a config without a semantic head"):
        from mmattn.preflight import preflight

        preflight(cfg)
