"""Promise: ``data=DIR`` trains and evaluates mmdet's configs on real boxes, masks, panoptic maps.

The networks are mmdet's own, on few and small images: what is tested is that every part fits.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from mmattn.config import load_config
from mmattn.engine import train
from mmattn.export import export, load_predictor
from mmattn.export.tasks.detection_match import match
from mmattn.inference import load_torch_predictor
from tests.support.box_folders import write_yolo

LOADERS = {
    f"{split}_dataloader.{key}": value
    for split in ("train", "val")
    for key, value in {"num_workers": 0, "persistent_workers": False}.items()
}
SMALL = (128, 128)
#: Steps of a small RetinaNet on eight images.
STEPS = 150


@pytest.fixture(autouse=True)
def no_closed_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)


def fit(config: str, data: Path, work_dir: Path, **settings: Any) -> None:
    options = {key.replace("__", "."): value for key, value in settings.items()}
    options |= {"data": str(data), "load_from": None, **LOADERS}
    train(f"mmdet::{config}", work_dir=str(work_dir), cfg_options=options)


@pytest.mark.slow
def test_blood_cells_by_yolox(shared_data: Path, tmp_path: Path, capfd) -> None:
    fit(
        "yolox/yolox_tiny_8xb8-300e_coco.py", shared_data / "bccd", tmp_path,
        data__indices=12, train_cfg__max_epochs=1, train_cfg__val_interval=1,
        train_dataloader__batch_size=4, model__data_preprocessor__batch_augments=None,
        train_dataloader__dataset__pipeline__0__img_scale=SMALL,
        train_dataloader__dataset__pipeline__1__border=(-64, -64),
        train_dataloader__dataset__pipeline__4__scale=SMALL,
        val_dataloader__dataset__pipeline__1__scale=SMALL,
    )  # fmt: skip
    shown = capfd.readouterr()
    assert "bbox_head.num_classes=3; compared by ClasswiseCocoMetric" in shown.out
    for name in ("Platelets", "RBC", "WBC"):
        assert re.search(rf"\| {name} +\| +\d+ \|", shown.out + shown.err), name
    assert "BloodImage_00343.xml (object 4, RBC)" in shown.err


@pytest.mark.slow
def test_nuclei_by_rtmdet(shared_data: Path, tmp_path: Path, capfd) -> None:
    steps = {"2__img_scale": SMALL, "3__scale": SMALL, "4__crop_size": SMALL, "7__size": SMALL}
    fit(
        "rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py", shared_data / "nuclei", tmp_path,
        data__indices=4, model__backbone__init_cfg=None, train_cfg__max_epochs=1,
        train_cfg__val_interval=1, train_cfg__dynamic_intervals=None,
        train_dataloader__batch_size=2, val_dataloader__dataset__pipeline__1__scale=SMALL,
        val_dataloader__dataset__pipeline__2__size=SMALL,
        **{f"train_dataloader__dataset__pipeline__{k}": v for k, v in steps.items()},
    )  # fmt: skip
    shown = capfd.readouterr()
    assert len(re.findall(r"\| nucleus +\| +\d+ \|", shown.out + shown.err)) == 2  # boxes, masks


@pytest.mark.slow
def test_panoptic_coco_by_mask2former(shared_data: Path, tmp_path: Path, capfd) -> None:
    fit(
        "mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py", shared_data / "coco100",
        tmp_path, data__indices=2, model__backbone__init_cfg=None, model__backbone__depth=18,
        model__panoptic_head__in_channels=[64, 128, 256, 512],
        model__panoptic_head__num_queries=10, train_cfg__max_iters=1, train_cfg__val_interval=1,
        train_cfg__dynamic_intervals=None, train_dataloader__batch_size=1,
        train_dataloader__dataset__pipeline__3__scale=SMALL,
        train_dataloader__dataset__pipeline__4__crop_size=SMALL,
        val_dataloader__dataset__pipeline__1__scale=SMALL,
        model__data_preprocessor__batch_augments__0__size=SMALL,
    )  # fmt: skip
    shown = capfd.readouterr()
    assert "num_stuff_classes=53" in " ".join(shown.out.split())
    assert "panoptic quality, on 2 images, in %, per class" in shown.out + shown.err


@pytest.mark.slow
def test_yolo_text_by_retinanet_from_the_folder_to_the_exported_file(
    tmp_path: Path,
) -> None:
    """A detector that is sure of its boxes: torch and the file find the same objects."""
    root = write_yolo(tmp_path / "parts", train=8, val=2)
    work = tmp_path / "run"
    small = (96, 64)
    fit(
        "retinanet/retinanet_r18_fpn_1x_coco.py", root, work,
        model__backbone__init_cfg=None, model__backbone__norm_eval=False,
        model__backbone__norm_cfg__requires_grad=True, model__backbone__frozen_stages=-1,
        model__bbox_head__anchor_generator__octave_base_scale=2,
        train_dataloader__dataset__pipeline__2__scale=small,
        val_dataloader__dataset__pipeline__1__scale=small,
        test_dataloader__dataset__pipeline__1__scale=small,
        train_dataloader__batch_size=8, train_cfg__max_epochs=STEPS, train_cfg__val_interval=STEPS,
        default_hooks__checkpoint__interval=STEPS, default_hooks__logger__interval=10,
        param_scheduler=None,
        optim_wrapper={"_delete_": True, "optimizer": {"type": "AdamW", "lr": 5e-4},
                       "clip_grad": {"max_norm": 10}},
    )  # fmt: skip
    config, checkpoint = work / "retinanet_r18_fpn_1x_coco.py", work / f"epoch_{STEPS}.pth"
    images = root / "images/val"
    onnx = tmp_path / "detector.onnx"
    result = export(config, checkpoint, out=onnx, images=[images], dynamic=False)
    assert result.parity.passed and result.parity.rows[0].results > 0
    torch_found, file_found = (
        [predictor.predict_file(file)[0].above(0.3) for file in sorted(images.glob("*.png"))]
        for predictor in (load_torch_predictor(load_config(config), checkpoint),
                          load_predictor(onnx))
    )  # fmt: skip
    assert sum(map(len, torch_found)) >= 2, "it has learnt something"
    for first, second in zip(torch_found, file_found, strict=True):
        limits = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_per_image": 100}
        matched = match(first, second, **limits)
        assert matched.unmatched == 0 and matched.pairs == len(first)
