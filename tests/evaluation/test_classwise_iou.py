"""The per-class IoU metric gives mmseg's numbers, keeps each class, and counts every pixel."""

from __future__ import annotations

import math

import pytest
import torch
from mmseg.evaluation import IoUMetric

from mmattn.evaluation import ClasswiseIoUMetric

CLASSES = ("a", "b", "c", "d")


def samples(seed: int, *, labels: tuple[int, ...] = (0, 1, 2, 255)) -> list[dict]:
    generator = torch.Generator().manual_seed(seed)
    pictures = []
    for index in range(5):
        truth = torch.tensor(labels)[torch.randint(len(labels), (1, 9, 13), generator=generator)]
        guess = torch.where(
            torch.rand(1, 9, 13, generator=generator) < 0.6,
            truth.clamp(max=2),
            torch.randint(3, (1, 9, 13), generator=generator),
        )
        pictures.append(
            {
                "pred_sem_seg": {"data": guess},
                "gt_sem_seg": {"data": truth},
                "img_path": f"{index}.png",
            }
        )
    return pictures


def evaluated(metric, pictures: list[dict]) -> dict[str, float]:
    metric.dataset_meta = {"classes": CLASSES}
    metric.process({}, pictures)
    return metric.evaluate(len(pictures))


@pytest.mark.parametrize("iou_metrics", [["mIoU"], ["mIoU", "mDice", "mFscore"]])
@pytest.mark.parametrize("nan_to_num", [None, 0])
def test_same_results_as_upstream(iou_metrics: list[str], nan_to_num: int | None) -> None:
    options = {"iou_metrics": iou_metrics, "nan_to_num": nan_to_num}
    theirs = evaluated(IoUMetric(**options), samples(3))
    ours = evaluated(ClasswiseIoUMetric(**options), samples(3))
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert ours.keys() == theirs.keys()


def test_each_class_equals_a_plain_count() -> None:
    metric = ClasswiseIoUMetric()
    pictures = samples(7)
    evaluated(metric, pictures)
    (table,) = metric.class_tables
    truth = torch.cat([p["gt_sem_seg"]["data"].flatten() for p in pictures])
    guess = torch.cat([p["pred_sem_seg"]["data"].flatten() for p in pictures])[truth != 255]
    truth = truth[truth != 255]
    for label, name in enumerate(CLASSES[:3]):
        both = ((truth == label) & (guess == label)).sum().item()
        either = ((truth == label) | (guess == label)).sum().item()
        accuracy = both / (truth == label).sum().item()
        assert table.rows[name] == pytest.approx([100 * both / either, 100 * accuracy])
    assert table.absent == {"d"}
    assert math.isnan(table.rows["d"][0])


def test_single_pixels_count_beyond_what_float32_can_add() -> None:
    """2**24 correct pixels and then 1000 wrong ones: in float32 none of the latter would count."""
    metric = ClasswiseIoUMetric()
    metric.dataset_meta = {"classes": ("a", "b")}
    big = torch.tensor([2.0**24, 0.0])
    one = torch.tensor([1.0, 0.0])
    none = torch.zeros(2)
    results = [(big, big, big, big)] + [(none, one, one, one)] * 1000
    metric.compute_metrics(results)
    share = metric.class_tables[0].rows["a"][0] / 100
    assert share == pytest.approx(2**24 / (2**24 + 1000), rel=1e-12)
