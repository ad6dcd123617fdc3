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

from mmattn.evaluation import ClasswiseIoUMetric

OPTIONS = {
    "iou_metrics": ["mIoU", "mBoundaryIoU", "mBoundaryF"],
    "calibration": 10,
    "bootstrap": 50,
    "worst": 3,
}


def sample(index: int) -> dict:
    """An image that only its index decides; early ones are worse."""
    generator = torch.Generator().manual_seed(index)
    truth = torch.randint(4, (3, 4), generator=generator).repeat_interleave(6, 0)
    truth = truth.repeat_interleave(5, 1)
    logits = torch.nn.functional.one_hot(truth).permute(2, 0, 1) * (0.5 + 0.3 * index)
    logits = logits + torch.randn(logits.shape, generator=generator)
    return {
        "pred_sem_seg": {"data": logits.argmax(0, keepdim=True)},
        "gt_sem_seg": {"data": truth[None]},
        "seg_logits": {"data": logits},
        "img_path": f"{index:02d}.png",
    }


def evaluate(indices: list[int], size: int) -> dict:
    metric = ClasswiseIoUMetric(**OPTIONS)
    metric.dataset_meta = {"classes": ("a", "b", "c", "d")}
    for start in range(0, len(indices), 2):
        metric.process({}, [sample(index) for index in indices[start : start + 2]])
    result = metric.evaluate(size)
    return {
        "metrics": result,
        "tables": [table.to_text() for table in metric.class_tables],
        "confusion": metric.confusion,
        "areas": metric.areas,
        "worst": [(one.name, one.label_maps) for one in metric.worst_images],
    }


def work(rank: int, size: int, folder: str) -> None:
    """One of two processes."""
    os.chdir(folder)  # mmengine exchanges results through a folder here
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    result = evaluate(list(DefaultSampler(range(size), shuffle=False)), size)
    Path(folder, f"rank{rank}.pkl").write_bytes(pickle.dumps(result))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("size", [7, 8])
def test_results_equal_those_of_one_process(size: int, tmp_path: Path) -> None:
    """7 is odd: the second process sees the first image, one of the worst, once more."""
    context = multiprocessing.get_context("fork")  # torch and mmseg are imported already
    started = [context.Process(target=work, args=(r, size, str(tmp_path))) for r in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
        assert process.exitcode == 0
    both = [pickle.loads((tmp_path / f"rank{r}.pkl").read_bytes()) for r in range(2)]
    alone = evaluate(list(range(size)), size)
    assert both[0]["metrics"] == both[1]["metrics"] == alone["metrics"]
    assert both[0]["tables"] == alone["tables"]
    assert np.array_equal(both[0]["confusion"], alone["confusion"])
    assert np.array_equal(both[0]["areas"], alone["areas"])
    assert both[0]["worst"] == alone["worst"]
    assert len(alone["worst"]) == 3
