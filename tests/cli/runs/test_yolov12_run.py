"""Promise: YOLOv12 goes the whole way on somebody's boxes: trained, resumed, tested, exported, run.

The config is the one of the README but for its size, on a folder in Pascal VOC's form.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmattn.io import read_checkpoint
from tests.support.box_folders import write_voc

CONFIG = "configs/folder/yolov12-n_1xb16-100e_folder-640x640.py"
OPTIONS = [
    "train_dataloader.batch_size=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
    "val_dataloader.num_workers=0",
    "val_dataloader.persistent_workers=False",
    "image_size=64",
    "custom_hooks.0.last_epochs=1",
    "train_cfg.val_interval=1",
    "default_hooks.checkpoint.interval=1",
]


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc(tmp_path_factory.mktemp("cells"))


def options(boxes: Path, *more: str) -> list[str]:
    return ["--cfg-options", f"data_root={boxes}", *OPTIONS, *more]


@pytest.mark.slow
def test_two_epochs_train_close_the_mosaic_and_are_averaged(
    boxes: Path, run: Callable[..., None], repo: Path, tmp_path: Path
) -> None:
    work = tmp_path / "run"
    set_to = options(boxes, "train_cfg.max_epochs=2")
    run("train", repo / CONFIG, "--work-dir", work, *set_to)
    checkpoint = read_checkpoint(work / "epoch_2.pth")
    assert {"state_dict", "ema_state_dict", "optimizer", "param_schedulers"} <= set(checkpoint)
    assert len(checkpoint["meta"]["dataset_meta"]["classes"]) > 1
    log = next(work.glob("*/*.log")).read_text()
    assert "Epoch 2: the training pipeline is now that of the last 1 epochs" in log


@pytest.mark.slow
def test_it_is_resumed_exported_and_run_without_torch(
    boxes: Path, run: Callable[..., None], repo: Path, tmp_path: Path
) -> None:
    work = tmp_path / "run"
    for epochs, words, more in ((1, (), ()), (2, ("--resume",), ("resume_schedule=new",))):
        set_to = options(boxes, f"train_cfg.max_epochs={epochs}", *more)
        run("train", repo / CONFIG, "--work-dir", work, *words, *set_to)
    config, checkpoint = work / Path(CONFIG).name, work / "epoch_2.pth"
    run("test", config, checkpoint, "--work-dir", tmp_path / "test")
    # A network of two steps: no score is high, and many are equal but for rounding.
    low = ["--cfg-options", "model.test_cfg.score_thr=0.0001"]
    images, exported = boxes / "JPEGImages", tmp_path / "detector.onnx"
    run("export", config, checkpoint, "--out", exported, "--dynamic", "--images", images, *low)
    said = json.loads((tmp_path / "detector.parity.json").read_text())
    assert {row["agreement"] for row in said["rows"]} == {1.0}
    for name, words, more in (("torch", [config, checkpoint], low), ("onnx", [exported], [])):
        out = tmp_path / name
        run("predict", *words, images, "--out", out, "--score-threshold", "0.0001", *more)
    in_torch, in_file = (len(found_in(tmp_path / name)) for name in ("torch", "onnx"))
    # Of so many equal scores NMS may keep others (306 and 312, measured): the check of the export
    # knows which. tests/engine/test_box_training.py has a detector that is sure of its boxes.
    assert in_torch > 0 and abs(in_torch - in_file) <= 0.05 * in_torch


def found_in(folder: Path) -> list[dict]:
    found = json.loads((folder / "detections.json").read_text())
    return found["annotations"] if isinstance(found, dict) else found
