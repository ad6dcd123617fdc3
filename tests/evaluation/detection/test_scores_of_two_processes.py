"""Two real processes (gloo) that share the images report what one process reports."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.fileio import dump

from mmattn.evaluation import ClasswiseCocoMetric
from tests.support.coco_cases import CATEGORIES, SIDE, random_case


def case(size: int) -> tuple[dict, list[dict]]:
    """A dataset of exactly ``size`` images."""
    return next(
        found
        for seed in range(500)
        for found in [random_case(seed, ties=False)]
        if len(found[0]["images"]) == size and len(found[1]) > size
    )


def evaluate(indices: list[int], size: int, file: str) -> dict:
    metric = ClasswiseCocoMetric(ann_file=file, bootstrap=20, worst=3)
    metric.dataset_meta = {"classes": tuple(c["name"] for c in CATEGORIES)}
    dataset, detections = case(size)
    labels = {category["id"]: label for label, category in enumerate(CATEGORIES)}
    for index in indices:
        image = dataset["images"][index]["id"]
        own = [d for d in detections if d["image_id"] == image]
        boxes = np.array([d["bbox"] for d in own]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        sample = {
            "img_id": image,
            "img_path": f"{image:02d}.png",
            "ori_shape": (SIDE, SIDE),
            "pred_instances": {
                "bboxes": torch.tensor(boxes),
                "scores": torch.tensor([d["score"] for d in own]),
                "labels": torch.tensor([labels[d["category_id"]] for d in own], dtype=torch.long),
            },
        }
        metric.process({}, [sample])
    result = metric.evaluate(size)
    return {
        "metrics": result,
        "tables": [table.to_text() for table in metric.class_tables],
        "numbers": {name: found.to_json() for name, found in metric.numbers.items()},
    }


def work(rank: int, size: int, folder: str) -> None:
    """One of two processes."""
    os.chdir(folder)  # mmengine exchanges results through a folder here
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    indices = list(DefaultSampler(range(size), shuffle=False))
    result = evaluate(indices, size, f"{folder}/truth.json")
    Path(folder, f"rank{rank}.pkl").write_bytes(pickle.dumps(result))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("size", [7, 8])
def test_results_equal_those_of_one_process(size: int, tmp_path: Path) -> None:
    """7 is odd: the second process sees the first image once more."""
    dump(case(size)[0], str(tmp_path / "truth.json"))
    context = multiprocessing.get_context("fork")  # torch and mmdet are imported already
    started = [context.Process(target=work, args=(r, size, str(tmp_path))) for r in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        assert process.exitcode == 0
    both = [pickle.loads((tmp_path / f"rank{r}.pkl").read_bytes()) for r in range(2)]
    alone = evaluate(list(range(size)), size, str(tmp_path / "truth.json"))
    assert both[0]["metrics"] == both[1]["metrics"] == alone["metrics"]
    assert both[0]["tables"] == alone["tables"] and both[0]["numbers"] == alone["numbers"]
    assert both[1]["numbers"] == {}, "results are collected by the first process"
    assert alone["numbers"]["bbox"]["worst_images"]
