"""COCO's panoptic ground truth as prediction of itself, and of what is wrong in known ways."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mmattn.detections.segment_map import segment_ids
from mmattn.evaluation import ClasswisePanopticMetric
from tests.support.shared_data import SHARED_DATA

FOLDER = SHARED_DATA / "coco100/annotations"
FILE = FOLDER / "panoptic_train2017.json"
pytestmark = pytest.mark.skipif(
    not FILE.is_file(), reason=f"{FILE} is not there: set MMATTN_SHARED_DATA to coco100's folder"
)


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def meta_of(content: dict) -> dict[str, Any]:
    return {
        "classes": [c["name"] for c in content["categories"]],
        "thing_classes": [c["name"] for c in content["categories"] if c["isthing"]],
    }


def sample_of(
    entry: dict, content: dict, change: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
    """The ground truth of an image, changed, as a prediction; void stays void."""
    label_of = {c["id"]: label for label, c in enumerate(content["categories"])}
    png = FILE.with_suffix("") / entry["file_name"]
    ids = segment_ids(cv2.imread(str(png))[..., ::-1])
    predicted = np.full(ids.shape, len(label_of))
    for place, segment in enumerate(entry["segments_info"], 1):
        predicted[ids == segment["id"]] = label_of[segment["category_id"]] + 1000 * place
    return {
        "img_id": entry["image_id"],
        "img_path": entry["file_name"].replace(".png", ".jpg"),
        "ori_shape": ids.shape,
        "pred_panoptic_seg": {"sem_seg": torch.tensor(change(predicted))[None]},
    }


def evaluate(metric, content: dict, change: Callable, limit: int) -> dict[str, float]:
    metric.dataset_meta = meta_of(content)
    entries = content["annotations"][:limit]
    for entry in entries:
        metric.process({}, [sample_of(entry, content, change)])
    found = metric.evaluate(len(entries))
    return {key.removeprefix("coco_panoptic/"): value for key, value in found.items()}


def ours(content: dict, change: Callable, limit: int) -> dict[str, float]:
    metric = ClasswisePanopticMetric(ann_file=str(FILE), worst=0)
    return evaluate(metric, content, change, limit)


@pytest.mark.parametrize("limit", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_against_itself_everything_is_100(content: dict, limit: int) -> None:
    found = ours(content, lambda ids: ids, limit)
    assert set(found.values()) == {100.0} and len(found) == 21


def shifted(ids: np.ndarray) -> np.ndarray:
    return np.roll(ids, 6, axis=1)


def merged(ids: np.ndarray) -> np.ndarray:
    """All objects of a class are one segment."""
    return ids % 1000 + 1000 * (ids % 1000 < 80)


def halved(ids: np.ndarray) -> np.ndarray:
    """The left half is void."""
    ids = ids.copy()
    ids[:, : ids.shape[1] // 2] = 133
    return ids


@pytest.mark.parametrize("change", [shifted, merged, halved])
@pytest.mark.parametrize("limit", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_changed_copies_score_what_mmdet_says(content: dict, change: Callable, limit: int) -> None:
    pytest.importorskip("panopticapi", reason="mmdet's CocoPanopticMetric needs panopticapi")
    from mmdet.evaluation import CocoPanopticMetric

    theirs = CocoPanopticMetric(ann_file=str(FILE), seg_prefix=str(FILE.with_suffix("")))
    expected = evaluate(theirs, copy.deepcopy(content), change, limit)
    found = ours(content, change, limit)
    assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    assert found["boundary_PQ"] <= found["PQ"] < 99
