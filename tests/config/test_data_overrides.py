"""Promise: a user's own data enters any segmentation config by an option, class counts included."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmattn.config import load_config
from mmattn.data.shapes import write_shapes_dataset
from mmattn.errors import ConfigError
from mmattn.preflight import preflight
from mmattn.preflight.auto_classes import fill_class_counts

NAMES = ["circle", "square", "triangle", "star", "ring", "cross", "grass", "water", "brick", "sand"]
OWN = "mmattn::folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py"
CITYSCAPES = "mmattn::ccnet/ccnet_r18-d8_4xb2-40k_cityscapes-512x1024.py"
IMAGE_LOADER = "mmattn.LoadImageFromFile"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own") / "images"
    write_shapes_dataset(root, num_train=4, num_val=2, size=(64, 64), seed=0)
    (root / "classes.json").write_text(json.dumps(NAMES))
    return root


def values(value: Any, key: str) -> Iterator[Any]:
    """All values of a key, at any depth."""
    if isinstance(value, dict):
        if key in value:
            yield value[key]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from values(inner, key)


def steps(cfg: Config, split: str) -> list[str]:
    dataset = cfg[f"{split}_dataloader"].dataset
    return [step["type"] for step in dataset.get("dataset", dataset).pipeline]


# --- data=DIR ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "heads"),
    [
        (CITYSCAPES, 2),
        ("mmattn::ccnet/ccnet_r18-d8_4xb4-80k_ade20k-512x512.py", 2),
        ("mmattn::ccnet/ccnet_r18-d8_4xb4-20k_voc12aug-512x512.py", 2),
        ("mmattn::ccnet/ccnet_r18-d8_1xb8-20k_camvid-360x360.py", 2),
        ("mmseg::pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py", 1),
        ("mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py", 1),
    ],
)
def test_a_folder_takes_the_place_of_the_config_s_data(
    config: str, heads: int, folder: Path
) -> None:
    before, cfg = load_config(config), load_config(config, {"data": str(folder)})
    assert list(values(cfg.model.to_dict(), "num_classes")) == ["auto"] * heads
    cfg = fill_class_counts(cfg)
    assert list(values(cfg.model.to_dict(), "num_classes")) == [10] * heads
    for split, expected in {"train": "train", "val": "val", "test": "val"}.items():
        dataset = cfg[f"{split}_dataloader"].dataset
        assert (dataset.type, dataset.split) == ("mmattn.FolderSegDataset", expected)
    assert "LoadAnnotations" not in list(values(cfg.to_dict(), "type"))
    old = before.train_dataloader.dataset
    old = old.datasets[0] if "datasets" in old else old
    ours = {"LoadAnnotations": "mmattn.LoadFolderMask", "LoadImageFromFile": IMAGE_LOADER}
    assert steps(cfg, "train") == [ours.get(step["type"], step["type"]) for step in old.pipeline]
    assert [report.entries for report in preflight(cfg)] == [4, 2]


def test_weights_for_the_old_classes_are_left_out_and_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = "mmattn::ccnet/ccnet_mobilenetv2_1xb8-1k_camvid-180x240.py"
    with caplog.at_level(logging.WARNING, logger="mmattn"):
        cfg = load_config(config, {"data": str(folder)})
    assert list(values(cfg.model.to_dict(), "class_weight")) == [None, None]
    assert "model.decode_head.loss_decode.class_weight was for the 11 classes" in caplog.text
    cfg = load_config(config, {
        "data": str(folder), "model.decode_head.loss_decode.class_weight": [1.0] * 10,
    })  # fmt: skip
    assert cfg.model.decode_head.loss_decode.class_weight == [1.0] * 10


def test_weights_of_queries_are_as_many(folder: Path) -> None:
    cfg = load_config(
        "mmseg::mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py", {"data": str(folder)}
    )
    assert cfg.model.decode_head.loss_cls.class_weight == [1.0, "auto", 0.1]
    filled = fill_class_counts(cfg)
    assert filled.model.decode_head.loss_cls.class_weight == [1.0] * 10 + [0.1]


def test_wrappers_stay(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        f"_base_ = {CITYSCAPES!r}\n"
        "train_dataloader = dict(dataset=dict(_delete_=True, type='mmattn.SeededDataset', seed=0,\n"
        "    dataset=_base_.train_dataloader.dataset))\n"
    )
    cfg = load_config(tmp_path / "a.py", {"data": str(folder)})
    assert cfg.train_dataloader.dataset.type == "mmattn.SeededDataset"
    assert cfg.train_dataloader.dataset.dataset.type == "mmattn.FolderSegDataset"
    assert fill_class_counts(cfg).model.decode_head.num_classes == 10


def test_arguments_of_every_split(folder: Path) -> None:
    options = {"data": str(folder), "data.mask_format": "index", "data.metainfo.classes": NAMES[:3],
               "val_dataloader.dataset.split": "all"}  # fmt: skip
    cfg = load_config(CITYSCAPES, options)
    assert [cfg[f"{s}_dataloader"].dataset.mask_format for s in ("train", "val", "test")] == [
        "index"
    ] * 3
    assert fill_class_counts(cfg).model.decode_head.num_classes == 3
    assert cfg.val_dataloader.dataset.split == "all", "a full key goes last"
    with pytest.raises(ConfigError, match=r"unexpected argument 'mask_forma' .*mean 'mask_format'"):
        fill_class_counts(
            load_config(CITYSCAPES, {"data": str(folder), "data.mask_forma": "index"})
        )


def test_semantic_configs_of_mmdet_have_no_folder_yet(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n"
        "val_evaluator = dict(_delete_=True, type='SemSegMetric')\n"
    )
    with pytest.raises(ConfigError, match=r"about semantic segmentation in the conventions of mmd"):
        load_config(tmp_path / "a.py", {"data": str(folder)})


# --- data_root=DIR -------------------------------------------------------------------------------


def test_data_root_moves_the_data_sets_and_what_metrics_read(tmp_path: Path) -> None:
    cfg = load_config(
        "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", {"data_root": f"{tmp_path}/x"}
    )
    assert cfg.train_dataloader.dataset.data_root == f"{tmp_path}/x/"
    assert cfg.val_evaluator.ann_file == f"{tmp_path}/x/annotations/instances_val2017.json"
    assert cfg.train_dataloader.dataset.type == "CocoDataset"


def test_data_root_needs_data(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("model = dict(type='A')\n")
    for option in ("data_root", "data.split"):
        with pytest.raises(ConfigError, match="no dataset"):
            load_config(tmp_path / "a.py", {option: "there"})


# --- one model learns ----------------------------------------------------------------------------


def test_flips_of_tta_load_the_mask_after_the_flip(folder: Path) -> None:
    from mmattn.engine.tta import use_tta

    cfg = load_config(OWN, {"data_root": str(folder)})
    cfg.tta_pipeline = None
    use_tta(cfg)
    *_, tta = cfg.test_dataloader.dataset.pipeline
    kinds = [[step["type"] for step in branch] for branch in tta.transforms]
    assert kinds == [["RandomFlip"] * 2, ["mmattn.LoadFolderMask"], ["PackSegInputs"]]
