"""What a test draws of its images: one file for each, also where folders share names."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmattn.boxes import FolderDetDataset
from mmattn.engine.drawn_names import drawn_names
from mmattn.engine.hooks import DrawnPredictionsHook, PaintedPredictionsHook
from tests.support.box_folders import write_voc

IMAGES = ("x/cam/1.png", "y/cam/1.png", "x/cam/2.png")


class Listed:
    """A dataset that lists images of three folders."""

    metainfo: dict = {"classes": ("ground", "car", "tree"), "palette": None}

    def __init__(self, root: Path, files: tuple[str, ...] = IMAGES) -> None:
        self.files = [str(root / file) for file in files]

    def __len__(self) -> int:
        return len(self.files)

    def get_data_info(self, index: int) -> dict[str, Any]:
        return {"img_path": self.files[index]}


@pytest.fixture
def runner(tmp_path: Path) -> SimpleNamespace:
    dataset = Listed(tmp_path)
    for number, file in enumerate(dataset.files):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(file, np.full((40, 60, 3), 50 * number, np.uint8))
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = Listed.metainfo
    return SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset=dataset),
        visualizer=visualizer,
        logger=logging.getLogger("drawn"),
    )


def test_detections_of_equal_names_are_all_drawn(runner: SimpleNamespace, tmp_path: Path) -> None:
    hook = DrawnPredictionsHook(tmp_path / "drawn", score_thr=0.5)
    hook.before_test_epoch(runner)
    for file in runner.test_dataloader.dataset.files:
        sample = DetDataSample(metainfo={"img_path": file, "ori_shape": (40, 60)})
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor([[5.0, 5.0, 30.0, 30.0]]),
            labels=torch.tensor([1]),
            scores=torch.tensor([0.9]),
        )
        hook.after_test_iter(runner, 0, outputs=[sample])
    hook.after_test_epoch(runner)
    found = {file.relative_to(tmp_path / "drawn").as_posix() for file in _files(tmp_path / "drawn")}
    assert found == set(IMAGES)
    shades = [cv2.imread(str(tmp_path / "drawn" / name))[-1, -1, 0] for name in IMAGES]
    assert shades == [0, 50, 100], "each is drawn over its own image"


def test_label_maps_of_equal_names_are_all_painted(runner: SimpleNamespace, tmp_path: Path) -> None:
    hook = PaintedPredictionsHook(tmp_path / "painted")
    hook.before_test_epoch(runner)
    for file in runner.test_dataloader.dataset.files:
        sample = SegDataSample(metainfo={"img_path": file})
        sample.pred_sem_seg = PixelData(data=torch.zeros(1, 40, 60, dtype=torch.int64))
        hook.after_test_iter(runner, 0, outputs=[sample])
    found = {
        file.relative_to(tmp_path / "painted").as_posix() for file in _files(tmp_path / "painted")
    }
    assert found == set(IMAGES)


def test_names_keep_what_tells_images_apart(tmp_path: Path) -> None:
    def names(*files: str) -> list[str]:
        return [name.as_posix() for name in drawn_names(Listed(Path("/d"), files)).values()]

    assert names("a/1.jpg", "b/2.jpg") == ["1", "2"]
    assert names("a/1.jpg", "b/1.jpg") == ["a/1", "b/1"]
    assert names("a/1.jpg", "a/1.png", "a/2.png") == ["1.jpg", "1.png", "2"]
    assert drawn_names([1, 2]) == {}


def _files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_colours_of_a_folder_are_what_mmdet_draws_in(tmp_path: Path) -> None:
    dataset = FolderDetDataset(str(write_voc(tmp_path)), "val")
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dataset.metainfo
    sample = DetDataSample()
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[5.0, 5.0, 30.0, 30.0]]),
        scores=torch.ones(1),
        labels=torch.ones(1).int(),
    )
    image = np.zeros((40, 60, 3), np.uint8)
    visualizer.add_datasample("", image, sample, draw_gt=False)
    assert visualizer.get_image().any()
