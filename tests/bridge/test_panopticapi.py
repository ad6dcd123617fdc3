"""mmdet's panoptic loader and metric run without panopticapi, and the measure is the paper's."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmattn.bridge.panopticapi import PQStat, id2rgb, rgb2id
from mmattn.data.shapes import CLASSES, write_shapes_dataset


def test_ids_and_colours_are_inverse():
    ids = np.array([[0, 1, 255], [256, 65535, 256**3 - 1]])
    assert np.array_equal(rgb2id(id2rgb(ids)), ids)
    assert id2rgb(1 + 2 * 256 + 3 * 65536) == [1, 2, 3]
    assert rgb2id([1, 2, 3]) == 1 + 2 * 256 + 3 * 65536
    assert id2rgb(ids).dtype == np.uint8  # a map is written as an image


def test_an_installed_package_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "panopticapi").mkdir()
    (tmp_path / "panopticapi/__init__.py").write_text("ORIGIN = 'installed'\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [n for n in sys.modules if n.split(".")[0] == "panopticapi"]:
        monkeypatch.delitem(sys.modules, name)
    import panopticapi

    assert panopticapi.ORIGIN == "installed"
    monkeypatch.delitem(sys.modules, "panopticapi")


def test_quality_by_hand():
    """Two matches with IoU 0.8 and 0.6, one missed, two too many: PQ = 1.4 / (2 + 0.5 + 1)."""
    first, second = PQStat(), PQStat()
    first[1].tp, first[1].iou, first[1].fp = 1, 0.8, 2
    second[1].tp, second[1].iou, second[1].fn = 1, 0.6, 1
    second[2].fn = 1
    first += second
    kinds = {1: {"isthing": 1}, 2: {"isthing": 0}, 3: {"isthing": 0}}
    mean, each = first.pq_average(kinds, isthing=True)
    assert mean == {"pq": 1.4 / 3.5, "sq": 0.7, "rq": pytest.approx(2 / 3.5), "n": 1}
    mean, each = first.pq_average(kinds, isthing=None)
    assert mean["pq"] == pytest.approx(0.7 / 3.5)  # category 3 never occurred and does not count
    assert mean["n"] == 2
    assert set(each) == {1, 2, 3} and each[3]["pq"] == 0.0


def naive_quality(truth: list, predicted: list) -> float:
    """Mean PQ by loops over pairs of ``(category, mask)``, without crowds or void."""
    qualities = []
    for category in {c for c, _ in truth + predicted}:
        ours = [m for c, m in predicted if c == category]
        theirs = [m for c, m in truth if c == category]
        ious = [(a & b).sum() / (a | b).sum() for a in theirs for b in ours]
        matched = [iou for iou in ious if iou > 0.5]
        qualities.append(sum(matched) / (0.5 * len(ours) + 0.5 * len(theirs)))
    return float(np.mean(qualities))


def test_mmdet_s_metric_on_shifted_maps_equals_a_loop(tmp_path: Path):
    from mmdet.evaluation.functional import pq_compute_multi_core

    root = write_shapes_dataset(tmp_path / "set", num_train=3, num_val=1, size=(64, 96), seed=5)
    content = json.loads((root / "annotations/panoptic_train.json").read_text())
    (tmp_path / "shifted").mkdir()
    truth, predicted, pairs = [], [], []
    for ann in content["annotations"]:
        path = root / "annotations/panoptic_train" / ann["file_name"]
        png = cv2.imread(str(path))
        moved = np.roll(png, 4, axis=1)
        cv2.imwrite(str(tmp_path / "shifted" / ann["file_name"]), moved)
        pairs.append((ann, json.loads(json.dumps(ann))))
        for maps, pixels in ((truth, png), (predicted, moved)):
            ids = rgb2id(pixels[..., ::-1])
            for segment in ann["segments_info"]:
                blank = np.zeros((len(content["annotations"]), *ids.shape), bool)
                blank[ann["image_id"]] = ids == segment["id"]
                maps.append((segment["category_id"], blank))
    categories = {c["id"]: c for c in content["categories"]}
    folders = (str(root / "annotations/panoptic_train"), str(tmp_path / "shifted"))
    stat = pq_compute_multi_core(pairs, *folders, categories, nproc=1)
    mean, _ = stat.pq_average(categories, isthing=None)
    assert 0.3 < mean["pq"] < 0.95
    assert mean["pq"] == pytest.approx(naive_quality(truth, predicted))
    assert len(categories) == len(CLASSES)
