"""What a metric keeps of an image are counts and run lengths: memory does not grow with pixels."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from mmattn.detections.segment_map import id_colours
from mmattn.evaluation import ClasswiseCocoMetric, ClasswisePanopticMetric

CLASSES = tuple(f"class{i}" for i in range(20))
META = {"classes": CLASSES, "thing_classes": CLASSES}


def grid(size: int, count: int) -> np.ndarray:
    """An image cut into ``count`` squares, numbered from 1."""
    side = int(np.sqrt(count))
    lines = np.minimum(np.arange(size) * side // size, side - 1)
    return lines[:, None] * side + lines + 1


def panoptic_sample(root: Path, size: int, masks: int, number: int) -> dict:
    """An image with a map on the disk, and the masks of all its objects as arrays."""
    import cv2

    ids = grid(size, masks)
    path = root / f"{size}_{masks}.png"
    if not path.is_file():
        assert cv2.imwrite(str(path), id_colours(ids)[..., ::-1])
    labels = {int(i): int(i) % len(CLASSES) for i in np.unique(ids)}
    predicted = ids * 1000 + ids % len(CLASSES)
    count = len(labels)
    return {
        "img_id": number,
        "img_path": f"{number:05d}.jpg",
        "ori_shape": ids.shape,
        "seg_map_path": str(path),
        "segments_info": [{"id": i, "category": v, "is_thing": True} for i, v in labels.items()],
        "pred_panoptic_seg": {"sem_seg": torch.tensor(np.roll(predicted, 3, axis=1))[None]},
        "pred_instances": {
            "bboxes": torch.zeros((count, 4)),
            "scores": torch.rand(count),
            "labels": torch.tensor(list(labels.values())),
            "masks": torch.tensor(ids[None] == np.array(list(labels))[:, None, None]),
        },
    }


def growth(metric, root: Path, *, images: int, size: int, masks: int) -> tuple[int, int]:
    """Bytes that a run leaves behind, and bytes of the results as processes exchange them."""
    metric.dataset_meta = META
    metric.process({}, [panoptic_sample(root, size, masks, 0)])  # what is loaded at first use
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1, images + 1):
        metric.process({}, [panoptic_sample(root, size, masks, number)])
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return grown, sum(len(pickle.dumps(result)) for result in metric.results)


def panoptic(instances: bool) -> ClasswisePanopticMetric:
    return ClasswisePanopticMetric(instances=instances, worst=2)


def test_counts_alone_are_kept_of_panoptic_maps(tmp_path: Path) -> None:
    """An image of 200 x 200 and 25 masks is a megabyte of arrays; some kilobytes stay."""
    grown, _ = growth(panoptic(False), tmp_path, images=30, size=200, masks=25)
    assert grown / 30 < 6_000


def test_memory_does_not_depend_on_the_size_of_images(tmp_path: Path) -> None:
    small, _ = growth(panoptic(False), tmp_path, images=12, size=60, masks=25)
    large, _ = growth(panoptic(False), tmp_path, images=12, size=360, masks=25)
    assert large < 2 * small + 20_000


@pytest.mark.parametrize("metric", ["panoptic", "instance"])
def test_masks_are_kept_as_run_lengths(tmp_path: Path, metric: str) -> None:
    """The run lengths and Python's objects around them, not the arrays."""
    built = panoptic(True) if metric == "panoptic" else _instance_metric(tmp_path)
    images, size, masks = 12, 200, 25
    grown, encoded = growth(built, tmp_path, images=images, size=size, masks=masks)
    assert encoded > images * masks * 20, "the masks are there"
    assert grown < images * masks * size * size / 60, "sixty times less than their arrays"
    assert grown < 1.3 * encoded, "nothing but the run lengths"


def _instance_metric(root: Path) -> ClasswiseCocoMetric:
    """Its ground truth is a file, as in mmdet's configs."""
    import json

    images = [{"id": i, "height": 1, "width": 1, "file_name": ""} for i in range(13)]
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES)]
    file = root / "instances.json"
    file.write_text(json.dumps({"images": images, "categories": categories, "annotations": []}))
    return ClasswiseCocoMetric(ann_file=str(file), metric=["segm", "boundary"])


@pytest.mark.slow
def test_five_thousand_images_of_a_hundred_masks(tmp_path: Path) -> None:
    """As arrays, the masks would be 5000 x 100 x 96 x 96 bytes, 4.3 GiB, and twice with the truth.

    What the process holds is read of the system, so that nothing is left out.
    """
    images, size, masks = 5000, 96, 100
    metric = panoptic(True)
    metric.dataset_meta = META
    sample = panoptic_sample(tmp_path, size, masks, 0)
    for number in range(200):  # until allocators have what they need
        metric.process({}, [{**sample, "img_id": number, "img_path": f"{number:05d}.jpg"}])
    before = resident()
    for number in range(200, images):
        metric.process({}, [{**sample, "img_id": number, "img_path": f"{number:05d}.jpg"}])
    grown = resident() - before
    encoded = sum(len(pickle.dumps(result)) for result in metric.results[200:])
    print(f"grown by {grown / 2**20:.0f} MiB; encoded {encoded / 2**20:.0f} MiB")
    assert grown < 1.3 * encoded + 2**24


def resident() -> int:
    """Bytes of memory that this process holds."""
    import os

    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
