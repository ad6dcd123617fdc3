"""Two real processes (gloo) that share the images report what one process reports."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.dataset import DefaultSampler

from mmattn.evaluation import ClasswisePanopticMetric
from tests.support.panoptic_samples import META, random_scenes, sample_of, write_truth


def evaluate(indices: list[int], size: int, folder: str) -> dict:
    root = Path(folder)
    metric = ClasswisePanopticMetric(
        ann_file=str(root / "panoptic.json"),
        outfile_prefix=str(root / "results"),
        bootstrap=20,
        worst=3,
    )
    metric.dataset_meta = META
    scenes = random_scenes(2, size)
    for index in indices:
        metric.process({}, [sample_of(scenes[index], root, instances=True)])
    result = metric.evaluate(size)
    return {
        "metrics": result,
        "tables": [table.to_text() for table in metric.class_tables],
        "numbers": metric.panoptic and metric.panoptic.to_json(),
        "written": json.loads((root / "results.panoptic.json").read_text()),
    }


def work(rank: int, size: int, folder: str) -> None:
    """One of two processes."""
    os.chdir(folder)  # mmengine exchanges results through a folder here
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    indices = list(DefaultSampler(range(size), shuffle=False))
    result = evaluate(indices, size, folder)
    Path(folder, f"rank{rank}.pkl").write_bytes(pickle.dumps(result))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("size", [7, 8])
def test_results_equal_those_of_one_process(size: int, tmp_path: Path) -> None:
    """7 is odd: the second process sees the first image once more."""
    write_truth(tmp_path, random_scenes(2, size))
    context = multiprocessing.get_context("fork")  # torch and mmdet are imported already
    started = [context.Process(target=work, args=(r, size, str(tmp_path))) for r in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
        assert process.exitcode == 0
    both = [pickle.loads((tmp_path / f"rank{r}.pkl").read_bytes()) for r in range(2)]
    alone = evaluate(list(range(size)), size, str(tmp_path))
    assert both[0]["metrics"] == both[1]["metrics"] == alone["metrics"]
    assert both[0]["tables"] == alone["tables"] and both[0]["numbers"] == alone["numbers"]
    assert both[1]["numbers"] is None, "results are collected by the first process"
    assert alone["numbers"]["worst_images"] and "coco_panoptic/segm_mAP" in alone["metrics"]
    assert sorted(a["image_id"] for a in both[0]["written"]["annotations"]) == list(range(size))
