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
from mmattn.errors import ConfigError, DataError
from mmattn.inference import build_model
from mmattn.preflight import preflight
from mmattn.preflight.config_keys import check_keys

NAMES = ["circle", "square", "triangle", "star", "ring", "cross", "grass", "water", "brick", "sand"]
OWN = "mmattn::folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py"
CITYSCAPES = "mmattn::ccnet/ccnet_r18-d8_4xb2-40k_cityscapes-512x1024.py"


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


# --- num_classes="auto" --------------------------------------------------------------------------


def test_every_head_gets_the_folder_s_number_of_classes(folder: Path, tmp_path: Path) -> None:
    cfg = load_config(OWN, {"data_root": str(folder)})
    assert list(values(cfg.model.to_dict(), "num_classes")) == [10, 10]
    assert "auto" not in list(values(cfg.to_dict(), "num_classes"))
    assert check_keys(cfg) == []
    assert [report.entries for report in preflight(cfg)] == [4, 2]
    assert build_model(cfg).decode_head.conv_seg.out_channels == 10
    # What a run leaves in its folder needs neither the data nor this function.
    cfg.dump(tmp_path / "left.py")
    left = Config.fromfile(tmp_path / "left.py")
    assert left.model.decode_head.num_classes == 10


def test_some_of_the_classes_are_counted(folder: Path) -> None:
    some = {f"data.{key}": value for key, value in {"metainfo.classes": ["star", "ring"]}.items()}
    cfg = load_config(OWN, {"data_root": str(folder), **some})
    assert cfg.model.decode_head.num_classes == 2


def test_a_number_that_is_given_stays(folder: Path) -> None:
    cfg = load_config(OWN, {"data_root": str(folder), "model.decode_head.num_classes": 7})
    assert list(values(cfg.model.to_dict(), "num_classes")) == [7, 10]
    with pytest.raises(ConfigError, match=r"num_classes=7, but .* has 10 classes.*'auto'"):
        preflight(cfg)


def test_classes_of_other_data_sets_count_without_their_files() -> None:
    cfg = load_config(CITYSCAPES, {"model.decode_head.num_classes": "auto"})
    assert cfg.model.decode_head.num_classes == 19
    cfg = load_config(
        "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", {"model.bbox_head.num_classes": "auto"}
    )
    assert cfg.model.bbox_head.num_classes == 80


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data_root='.*gone': no such folder.*holds the number"):
        load_config(OWN, {"data_root": str(tmp_path / "gone")})


def test_without_data_there_is_nothing_to_count(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("model = dict(head=dict(num_classes='auto'))\n")
    with pytest.raises(ConfigError, match="write the number"):
        load_config(tmp_path / "a.py")


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
    assert list(values(cfg.model.to_dict(), "num_classes")) == [10] * heads
    for split, expected in {"train": "train", "val": "val", "test": "val"}.items():
        dataset = cfg[f"{split}_dataloader"].dataset
        assert (dataset.type, dataset.split) == ("mmattn.FolderSegDataset", expected)
    assert "LoadAnnotations" not in list(values(cfg.to_dict(), "type"))
    old = before.train_dataloader.dataset
    old = old.datasets[0] if "datasets" in old else old
    assert steps(cfg, "train") == [
        step["type"].replace("LoadAnnotations", "mmattn.LoadFolderMask") for step in old.pipeline
    ]
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
    assert cfg.model.decode_head.loss_cls.class_weight == [1.0] * 10 + [0.1]


def test_wrappers_stay(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        f"_base_ = {CITYSCAPES!r}\n"
        "train_dataloader = dict(dataset=dict(_delete_=True, type='mmattn.SeededDataset', seed=0,\n"
        "    dataset=_base_.train_dataloader.dataset))\n"
    )
    cfg = load_config(tmp_path / "a.py", {"data": str(folder)})
    assert cfg.train_dataloader.dataset.type == "mmattn.SeededDataset"
    assert cfg.train_dataloader.dataset.dataset.type == "mmattn.FolderSegDataset"
    assert cfg.model.decode_head.num_classes == 10


def test_arguments_of_every_split(folder: Path) -> None:
    options = {"data": str(folder), "data.mask_rule": "index", "data.metainfo.classes": NAMES[:3],
               "val_dataloader.dataset.split": "all"}  # fmt: skip
    cfg = load_config(CITYSCAPES, options)
    assert [cfg[f"{s}_dataloader"].dataset.mask_rule for s in ("train", "val", "test")] == [
        "index"
    ] * 3
    assert cfg.model.decode_head.num_classes == 3
    assert cfg.val_dataloader.dataset.split == "all", "a full key goes last"
    with pytest.raises(ConfigError, match=r"takes no 'mask_rul'\. Did you mean 'mask_rule'"):
        load_config(CITYSCAPES, {"data": str(folder), "data.mask_rul": "index"})


def test_detection_configs_have_no_masks_to_replace(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is not about semantic segmentation"):
        load_config("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", {"data": str(folder)})


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
