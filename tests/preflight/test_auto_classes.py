"""Promise: ``num_classes="auto"`` is counted before every build; reading a config opens no data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmattn.config import load_config
from mmattn.config.walk import walk
from mmattn.data.shapes import write_shapes_dataset
from mmattn.errors import ConfigError, DataError
from mmattn.inference import build_model
from mmattn.preflight import preflight
from mmattn.preflight.auto_classes import fill_class_counts
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


def counts(cfg: Config) -> list:
    return [value for path, value in walk(cfg.to_dict()) if path.endswith(".num_classes")]


def test_a_config_is_read_without_its_data(tmp_path: Path) -> None:
    """``data`` and ``data_root`` say where data will be; nobody looks there yet."""
    gone = str(tmp_path / "gone")
    for cfg in (load_config(OWN, {"data_root": gone}), load_config(CITYSCAPES, {"data": gone})):
        assert cfg.model.decode_head.num_classes == "auto"
        assert cfg.train_dataloader.dataset.data_root == gone


def test_every_head_gets_the_folder_s_number_of_classes(folder: Path, tmp_path: Path) -> None:
    read = load_config(OWN, {"data_root": str(folder)})
    cfg = fill_class_counts(read)
    assert set(counts(read)) == {"auto"}, "the given config stays as it is"
    assert set(counts(cfg)) == {10}
    assert check_keys(cfg) == []
    assert [report.entries for report in preflight(cfg)] == [4, 2]
    assert build_model(read).decode_head.conv_seg.out_channels == 10
    # What a run leaves in its folder needs neither the data nor this function.
    cfg.dump(tmp_path / "left.py")
    left = Config.fromfile(tmp_path / "left.py")
    assert left.model.decode_head.num_classes == 10


def test_some_of_the_classes_are_counted(folder: Path) -> None:
    some = {f"data.{key}": value for key, value in {"metainfo.classes": ["star", "ring"]}.items()}
    cfg = fill_class_counts(load_config(OWN, {"data_root": str(folder), **some}))
    assert cfg.model.decode_head.num_classes == 2


def test_a_number_that_is_given_stays(folder: Path) -> None:
    cfg = load_config(OWN, {"data_root": str(folder), "model.decode_head.num_classes": 7})
    cfg = fill_class_counts(cfg)
    assert (cfg.model.decode_head.num_classes, cfg.model.auxiliary_head.num_classes) == (7, 10)
    with pytest.raises(ConfigError, match=r"num_classes=7, but .* has 10 classes.*'auto'"):
        preflight(cfg)


def test_classes_of_other_data_sets_count_without_their_files() -> None:
    cfg = load_config(CITYSCAPES, {"model.decode_head.num_classes": "auto"})
    cfg = fill_class_counts(cfg)
    assert cfg.model.decode_head.num_classes == 19
    cfg = load_config(
        "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", {"model.bbox_head.num_classes": "auto"}
    )
    cfg = fill_class_counts(cfg)
    assert cfg.model.bbox_head.num_classes == 80


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data_root='.*gone': no such folder.*holds the number"):
        build_model(load_config(OWN, {"data_root": str(tmp_path / "gone")}))


def test_without_data_there_is_nothing_to_count(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("model = dict(head=dict(num_classes='auto'))\n")
    with pytest.raises(ConfigError, match="write the number"):
        fill_class_counts(load_config(tmp_path / "a.py"))


@pytest.mark.slow
def test_a_runner_counts_them_and_writes_them_down(folder: Path, tmp_path: Path) -> None:
    """Training and testing both build their runner so."""
    from mmattn.engine.runner import build_runner

    read = load_config(OWN, {"data_root": str(folder), "model.backbone.init_cfg": None})
    read.work_dir, read.launcher = str(tmp_path), "none"
    for splits in (("train", "val"), ("test",)):
        runner = build_runner(read, splits)
        assert runner.model.decode_head.conv_seg.out_channels == 10
        assert set(counts(runner.cfg)) == {10}
    assert set(counts(read)) == {"auto"}


@pytest.fixture(scope="module")
def weights(folder: Path) -> Path:
    model = build_model(load_config(OWN, {"data_root": str(folder)}))
    meta = {"dataset_meta": {"classes": NAMES}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, folder.parent / "weights.pth")
    return folder.parent / "weights.pth"


def test_prediction_counts_them(folder: Path, weights: Path, tmp_path: Path) -> None:
    from mmattn.inference import predict_images

    cfg = load_config(OWN, {"data_root": str(folder)})
    (labels, *_) = predict_images(cfg, weights, [folder / "images/val"], tmp_path)
    assert labels.is_file()
    assert json.loads((tmp_path / "classes.json").read_text()) == NAMES


@pytest.mark.slow
def test_export_counts_them(folder: Path, weights: Path, tmp_path: Path) -> None:
    from mmattn.export import export

    options = {"data_root": str(folder)}
    result = export(OWN, weights, out=tmp_path / "a.onnx", shape=(64, 64), cfg_options=options)
    assert list(result.metadata.classes) == NAMES
