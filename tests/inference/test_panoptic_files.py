"""Promise: predicted segments are written in COCO's panoptic form, each image under its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmattn.detections.segment_map import SegmentMap, segment_ids
from mmattn.errors import DataError
from mmattn.images import read_image
from mmattn.inference import predict_with
from mmattn.inference.torch_predictors import TorchPanopticSegmentor


class Halves:
    """Finds an object on the left, and stuff on the right of every image."""

    result = "segments"
    classes = ("cat", "grass")
    palette = None
    remark = ""
    things = (True, False)

    def __call__(self, image: np.ndarray) -> SegmentMap:
        ids = np.zeros(image.shape[:2], np.int64)
        ids[:, : image.shape[1] // 2] = 700
        ids[:, image.shape[1] // 2 :] = 1
        ids[0] = 0
        return SegmentMap.of(ids, {700: 0, 1: 1})

    def predict_file(self, file: Path) -> tuple[SegmentMap, np.ndarray]:
        image = read_image(file)
        return self(image), image


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((20, 30, 3), 90, np.uint8))
    return path


def test_maps_overlays_and_one_json_file(tmp_path: Path) -> None:
    files = [picture(tmp_path / f"in/{folder}/x.png") for folder in "ab"]
    lines: list[str] = []
    written = predict_with(Halves(), files, tmp_path / "out", log=lines.append)
    content = json.loads((tmp_path / "out/panoptic.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a/x.png", "b/x.png"]
    assert content["categories"][0] == {"id": 0, "name": "cat", "isthing": 1}
    for path, entry in zip(written, content["annotations"], strict=True):
        assert path == tmp_path / "out" / entry["file_name"]
        ids = segment_ids(cv2.imread(str(path))[..., ::-1])
        assert not ids[0].any()
        found = {one["id"]: one for one in entry["segments_info"]}
        assert {one["category_id"] for one in found.values()} == {0, 1}
        for number, one in found.items():
            assert (ids == number).sum() == one["area"] == 19 * 15
            assert one["bbox"][1:] == [1, 15, 19]
        overlay = cv2.imread(str(path.with_name("x_overlay.jpg")))
        assert overlay.shape == (20, 30, 3)
    assert lines == [f"{file}: grass 1, cat 1" for file in files]


def test_one_bad_image_does_not_cost_the_others(tmp_path: Path) -> None:
    good, bad = picture(tmp_path / "in/a.png"), tmp_path / "in/b.png"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 2 images cannot be read; 1 maps are in"):
        predict_with(Halves(), [good, bad], tmp_path / "out")
    content = json.loads((tmp_path / "out/panoptic.json").read_text())
    assert len(content["images"]) == 1


def test_the_map_of_a_model_in_torch() -> None:
    """mmdet's pixels hold class + 1000 x object; void is the number of classes."""
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import PixelData

    class Model:
        dataset_meta = {"classes": ("cat", "dog", "grass")}

        class panoptic_fusion_head:
            num_things_classes, num_stuff_classes = 2, 1

        def test_step(self, batch: Any) -> list:
            ids = torch.tensor([[[1000, 2001], [2, 3]]])
            return [DetDataSample(pred_panoptic_seg=PixelData(sem_seg=ids))]

    predictor = TorchPanopticSegmentor(Model(), Any)  # type: ignore[arg-type]
    assert predictor.things == [True, True, False]
    found = predictor.predict({})
    assert found.class_map(-1).tolist() == [[0, 1], [2, -1]]
    assert len(found.labels) == 3
