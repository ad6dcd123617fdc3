"""mIoU of random datasets equals the loop over all pixels, as exact fractions."""

from __future__ import annotations

import logging
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from mmattn.evaluation import ClasswiseIoUMetric

#: Random datasets in the default run, and in the long one.
SLICE, ALL = 60, 1000


def random_dataset(seed: int) -> tuple[int, int, list[dict]]:
    """Number of classes, ignored label, and images of odd sizes with labels that are no class."""
    rng = np.random.default_rng(seed)
    classes, ignored = int(rng.choice([1, 2, 3, 7, 19, 150])), int(rng.choice([255, 255, 0, 254]))
    known = rng.choice(classes, size=int(rng.integers(1, classes + 1)), replace=False)
    images = []
    for index in range(int(rng.integers(1, 5))):
        height, width = rng.integers(1, 14, 2)
        strange = [255, classes, 254] if rng.random() < 0.5 else [255]
        pool = [*known.tolist() * 3, *(strange if rng.random() < 0.7 else [])]
        truth = rng.choice(pool, (1, height, width))
        guess = np.where(rng.random(truth.shape) < 0.5, truth, rng.choice(pool, truth.shape))
        dtype = torch.uint8 if rng.random() < 0.5 else torch.int64
        images.append(
            {
                "pred_sem_seg": {"data": torch.tensor(guess, dtype=torch.int64)},
                "gt_sem_seg": {"data": torch.tensor(truth).to(dtype)},
                "img_path": f"{index}.png",
            }
        )
    return classes, ignored, images


def naive(classes: int, ignored: int, images: list[dict]) -> list[tuple[Fraction | None, ...]]:
    """IoU and accuracy of each class by counting pixels one by one; None for nothing of nothing."""
    both, labelled, predicted = [0] * classes, [0] * classes, [0] * classes
    for image in images:
        truth = image["gt_sem_seg"]["data"].flatten().tolist()
        guess = image["pred_sem_seg"]["data"].flatten().tolist()
        for wanted, found in zip(truth, guess, strict=True):
            if wanted == ignored:
                continue
            if wanted < classes:
                labelled[wanted] += 1
            if found < classes:
                predicted[found] += 1
            if wanted == found and wanted < classes:
                both[wanted] += 1
    scores = []
    for hit, label, guess in zip(both, labelled, predicted, strict=True):
        union = label + guess - hit
        scores.append(
            (Fraction(hit, union) if union else None, Fraction(hit, label) if label else None)
        )
    return scores


def check(seed: int) -> None:
    classes, ignored, images = random_dataset(seed)
    names = tuple(f"class {index}" for index in range(classes))
    metric = ClasswiseIoUMetric(ignore_index=ignored)
    metric.dataset_meta = {"classes": names}
    metric.process({}, images)
    result = metric.evaluate(len(images))
    expected = naive(classes, ignored, images)
    (table,) = metric.class_tables
    for name, (iou, accuracy) in zip(names, expected, strict=True):
        for ours, share in zip(table.rows[name], (iou, accuracy), strict=True):
            # The nearest double to the fraction, times a hundred.
            assert math.isnan(ours) if share is None else ours == 100 * float(share), name
    defined = [iou for iou, _ in expected if iou is not None]
    if defined:
        mean = 100 * float(sum(defined) / len(defined))
        assert result["mIoU"] == pytest.approx(mean, abs=0.005 + 1e-9)  # reported in two decimals
    else:
        assert math.isnan(result["mIoU"])


@pytest.fixture(autouse=True)
def quiet():
    """The metric tells of pixels that are no class, and of each table."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


def test_a_slice_equals_the_loop(figures) -> None:
    for seed in range(SLICE):
        check(seed)
    figures("semantic datasets", SLICE, SLICE)


@pytest.mark.slow
def test_a_thousand_datasets_equal_the_loop(figures) -> None:
    for seed in range(SLICE, SLICE + ALL):
        check(seed)
    figures("semantic datasets", ALL, ALL)
