"""Promise: ``FolderDetDataset`` gives mmdet's entries, and metrics the values of a COCO file."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset, CocoPanopticDataset
from mmdet.evaluation import CocoMetric, CocoPanopticMetric
from mmengine.registry import DATASETS, init_default_scope

from mmattn.boxes import FolderDetDataset
from mmattn.engine.forget_annotations import ForgetAnnotationsHook
from mmattn.errors import ConfigError
from mmattn.evaluation import ClasswiseCocoMetric
from mmattn.registry import METRICS
from tests.support.box_folders import write_coco, write_image, write_panoptic, write_voc, write_yolo

LOADING = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations", "with_bbox": True}]


@pytest.fixture(autouse=True)
def scope() -> None:
    init_default_scope("mmdet")


def build(root: Path, **options: Any) -> FolderDetDataset:
    init_default_scope("mmdet")
    return DATASETS.build({"type": "mmattn.FolderDetDataset", "data_root": str(root), **options})


def upstream(root: Path, split: str, classes: tuple, cls: type = CocoDataset, **options) -> Any:
    """The same data by mmdet's own reader, which wants names in the order of the file."""
    prefix = {"img": f"{split}2017/"}
    file = f"annotations/instances_{split}2017.json"
    return cls(**{"ann_file": file, "data_prefix": prefix, "data_root": str(root),
                  "metainfo": {"classes": classes}, **options})  # fmt: skip


def comparable(entry: dict) -> dict:
    instances = [
        {key: value for key, value in item.items() if key != "area"} for item in entry["instances"]
    ]
    return {**entry, "instances": instances, "sample_idx": 0}


@pytest.mark.parametrize("masks", ["polygons", "rle"])
def test_entries_are_those_of_mmdet_s_own_reader(masks: str, tmp_path: Path) -> None:
    root = write_coco(tmp_path / "d", masks=masks)
    ours = build(root, split="train", targets="masks")
    theirs = upstream(root, "train", ours.metainfo["classes"])
    assert len(ours) == len(theirs) == 4
    for index in range(4):
        assert comparable(ours[index]) == comparable(theirs[index])


def test_panoptic_entries_are_those_of_mmdet_s_own_reader(shapes_root: Path) -> None:
    """On generated scenes, half of which hold a crowd."""
    ours = build(shapes_root, split="train", targets="panoptic")
    theirs = CocoPanopticDataset(
        ann_file="annotations/panoptic_train.json",
        data_prefix={"img": "images/train/", "seg": "annotations/panoptic_train/"},
        data_root=str(shapes_root),
        metainfo={key: ours.metainfo[key] for key in ("classes", "thing_classes", "stuff_classes")},
    )
    assert len(ours) == len(theirs) == 8
    assert any(o.crowd for image in ours.records.images for o in image.objects)
    for index in range(8):
        assert comparable(ours[index]) == comparable(theirs[index])


def test_filter_cfg_works_as_upstream_s(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    (root / "labels/train/001.txt").write_text("")
    assert len(build(root)) == 4
    assert len(build(root, filter_cfg={"filter_empty_gt": True})) == 3
    assert len(build(root, filter_cfg={"filter_empty_gt": True}, test_mode=True)) == 4
    write_image(root / "images/train/001.png", [], size=(40, 96))
    assert len(build(root, filter_cfg={"min_size": 64})) == 3


@pytest.mark.slow
@pytest.mark.parametrize("masks", ["polygons", "rle"])
def test_masks_are_there_for_copy_paste_in_training_alone(masks: str, tmp_path: Path) -> None:
    """mmdet's own dataset has them beside boxes too; ``FlipCopyPaste`` pastes nothing without."""
    root = write_coco(tmp_path / "d", masks=masks)
    ours = build(root, split="train")
    theirs = upstream(root, "train", ours.metainfo["classes"])
    with_mask = [[i.get("mask") for i in ours[n]["instances"]] for n in range(4)]
    assert with_mask == [[i.get("mask") for i in theirs[n]["instances"]] for n in range(4)]
    assert any(mask for image in with_mask for mask in image)
    tested = build(root, split="train", test_mode=True)
    assert not any("mask" in item for n in range(4) for item in tested[n]["instances"])


def test_chosen_classes_take_the_labels_of_their_order(tmp_path: Path) -> None:
    dataset = build(write_voc(tmp_path / "d"), metainfo={"classes": ["rod", "cell"]})
    assert dataset.metainfo["classes"] == ("rod", "cell")
    labels = [[item["bbox_label"] for item in dataset[i]["instances"]] for i in range(4)]
    assert labels == [[1, 0]] * 4  # the cell first, as it stands in the file; no dot
    assert any("not-chosen" in finding.check for finding in dataset.findings)


def test_segments_of_classes_that_are_not_chosen_are_void_to_a_metric(tmp_path: Path) -> None:
    """The map shows them: the metric must not take them for unlisted ones."""
    root = write_panoptic(tmp_path / "d")
    dataset = build(
        root, split="val", targets="panoptic", test_mode=True, metainfo={"classes": ["cell", "rod"]}
    )
    metric = METRICS.build({"type": "mmattn.ClasswisePanopticMetric"})
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        entry = dataset.get_data_info(index)
        ids = mmcv.imread(entry["seg_map_path"], channel_order="rgb").astype(int)
        ids = ids @ (1, 256, 65536)
        labels = {s["id"]: s["category"] for s in entry["segments_info"]}
        assert set(entry["void_segments"]) == set(np.unique(ids)) - set(labels)
        predicted = np.zeros(ids.shape, int)  # the ground is predicted as a cell: it is void
        for number, (segment, label) in enumerate(labels.items(), 1):
            predicted[ids == segment] = label + 1000 * number
        metric.process({}, [{**entry, "pred_panoptic_seg": {"sem_seg": torch.tensor(predicted)}}])
    assert metric.evaluate(len(dataset))["coco_panoptic/PQ"] == 100


@pytest.mark.slow
def test_what_was_read_is_let_go_of_before_the_first_step(tmp_path: Path) -> None:
    """At the size of COCO it is 1.3 GiB, of which each loading process would get a copy."""
    dataset = FolderDetDataset(str(write_coco(tmp_path)), pipeline=[])
    before = [image.path for image in dataset.records.images]
    image = weakref.ref(dataset.records.images[0])
    ForgetAnnotationsHook().before_train(None)  # type: ignore[arg-type]
    gc.collect()
    assert image() is None, "somebody still holds the records"
    assert len(dataset) == 4 and dataset.get_data_info(0)["instances"]
    assert [image.path for image in dataset.records.images] == before, "read again"


def test_a_sample_goes_through_mmdet_s_pipeline(tmp_path: Path) -> None:
    pipeline = [{"type": "mmattn.LoadImageFromFile"}, *LOADING[1:], {"type": "PackDetInputs"}]
    for write in (write_voc, write_coco, write_yolo):
        sample = build(write(tmp_path / write.__name__), pipeline=pipeline)[1]["data_samples"]
        boxes = sample.gt_instances.bboxes.tensor
        expected = torch.tensor([[6.0, 8, 30, 32], [40, 12, 88, 24], [60, 40, 70, 52]])
        torch.testing.assert_close(boxes, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("targets", "step", "message"),
    [
        ("boxes", {"type": "LoadAnnotations", "with_mask": True}, "set data.targets=masks"),
        ("masks", {"type": "LoadAnnotations", "with_seg": True}, "without a semantic head"),
        ("boxes", {"type": "LoadPanopticAnnotations"}, "set data.targets=panoptic"),
        ("masks", {"type": "LoadAnnotations", "with_mask": True, "poly2mask": False},
         "10 masks, as in .*, are run lengths and would be left out"),
    ],
)  # fmt: skip
def test_a_pipeline_that_would_lose_something_is_refused(
    targets: str, step: dict, message: str, tmp_path: Path
) -> None:
    root = write_coco(tmp_path / "d", masks="rle")
    with pytest.raises(ConfigError, match=message):
        build(root, targets=targets, pipeline=[step])


def test_arguments_of_other_datasets_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'data_prefix' .* Use img_dir"):
        build(write_voc(tmp_path / "d"), data_prefix={"img": "x"})


# --- metrics -------------------------------------------------------------------------------------


def detections(dataset: Any, *, masks: bool, seed: int = 0) -> list[dict]:
    """Detections near the truth, as a test packs them, with the truth of the dataset."""
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(seed)
    samples = []
    for index in range(len(dataset)):
        entry = dataset.get_data_info(index)
        height, width = entry["height"], entry["width"]
        boxes, labels, found = [], [], []
        for item in entry["instances"]:
            for _ in range(rng.integers(0, 3)):
                box = np.add(item["bbox"], rng.normal(0, 2, 4))
                boxes.append(box.tolist())
                labels.append(item["bbox_label"])
                x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height]).round().astype(int)
                pixels = np.zeros((height, width), np.uint8, order="F")
                pixels[y1:y2, x1:x2] = 1
                found.append(coco_mask.encode(pixels))
        predicted: dict[str, Any] = {
            "bboxes": torch.tensor(boxes).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.long),
            "scores": torch.tensor(rng.random(len(boxes))),
        }
        if masks:
            predicted["masks"] = found
        samples.append(
            {"img_id": entry["img_id"], "ori_shape": (height, width),
             "instances": entry["instances"], "pred_instances": predicted}
        )  # fmt: skip
    return samples


@pytest.mark.parametrize("masks", [False, True])
def test_metric_without_a_file_gives_the_values_of_the_file(masks: bool, tmp_path: Path) -> None:
    """The oracle is mmdet's metric, by pycocotools, on the annotation file itself."""
    root = write_coco(tmp_path / "d", val=12, masks="polygons")
    file = root / "annotations/instances_val2017.json"
    content = json.loads(file.read_text())
    content["annotations"][3]["iscrowd"] = 1
    for item in content["annotations"]:
        if not masks:
            item["area"] *= 12  # areas of other ranges than the boxes'
    file.write_text(json.dumps(content))
    names = ["bbox", "segm"] if masks else ["bbox"]
    dataset = build(root, split="val", targets="masks" if masks else "boxes", test_mode=True)
    ours = ClasswiseCocoMetric(metric=names)
    theirs = CocoMetric(ann_file=str(file), metric=names)
    found = []
    for metric in (ours, theirs):
        metric.dataset_meta = dataset.metainfo
        metric.process({}, detections(dataset, masks=masks))
        found.append(metric.evaluate(len(dataset)))
    assert found[0] == pytest.approx(found[1], abs=1e-3)
    assert 0.1 < found[0]["coco/bbox_mAP"] < 1
    assert set(ours.class_tables[0].rows) == {"dot", "cell", "rod"}


def test_metric_of_data_without_an_object(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "d")
    for file in (root / "labels/val").iterdir():
        file.write_text("")
    dataset = build(root, split="val", test_mode=True)
    metric = ClasswiseCocoMetric(metric="bbox")
    metric.dataset_meta = dataset.metainfo
    metric.process({}, detections(dataset, masks=False))
    assert metric.evaluate(2)["coco/bbox_mAP"] in (0, -1)


def test_panoptic_quality_without_a_file(tmp_path: Path) -> None:
    """The oracle is mmdet's metric on the annotation file; a third of the segments is moved."""
    root = write_panoptic(tmp_path / "d", val=3)
    file = root / "annotations/panoptic_val.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:  # upstream wants box and area of stuff as well
        ground, *things = annotation["segments_info"]
        ground.update(bbox=[0, 0, 96, 64], area=96 * 64 - sum(s["area"] for s in things))
    file.write_text(json.dumps(content))
    dataset = build(root, split="val", targets="panoptic", test_mode=True)
    content["categories"].sort(key=lambda category: -category["isthing"])
    file = tmp_path / "things_first.json"  # upstream maps by position
    file.write_text(json.dumps(content))
    ours = METRICS.build({"type": "mmattn.ClasswisePanopticMetric"})
    maps = str(root / "annotations/panoptic_val")
    theirs = CocoPanopticMetric(ann_file=str(file), seg_prefix=maps)
    results = []
    for metric in (ours, theirs):
        metric.dataset_meta = dataset.metainfo
        for index in range(len(dataset)):
            entry = dataset.get_data_info(index)
            ids = mmcv.imread(entry["seg_map_path"], channel_order="rgb").astype(int)
            ids = ids @ (1, 256, 65536)
            predicted = np.full(ids.shape, len(dataset.metainfo["classes"]))  # nothing
            for number, segment in enumerate(entry["segments_info"]):
                where = np.roll(ids == segment["id"], 7 if number == 2 else 1, axis=1)
                predicted[where] = segment["category"] + 1000 * number
            data = {"sem_seg": torch.tensor(predicted)[None]}
            metric.process(
                {},
                [{"img_id": entry["img_id"], "img_path": entry["img_path"], "ori_shape": ids.shape,
                  "segments_info": entry["segments_info"], "seg_map_path": entry["seg_map_path"],
                  "pred_panoptic_seg": data}],
            )  # fmt: skip
        results.append(metric.evaluate(len(dataset)))
    assert {key: results[0][key] for key in results[1]} == pytest.approx(results[1])
    assert 20 < results[0]["coco_panoptic/PQ"] < 95
