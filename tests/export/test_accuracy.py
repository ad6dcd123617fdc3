"""The measure that torch and an exported file share agrees with mmseg's own metric."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.evaluation import IoUMetric

from mmattn.errors import DataError
from mmattn.export import class_ious, validation_images, validation_pairs


def test_class_ious_equal_mmsegs_metric() -> None:
    rng = np.random.default_rng(0)
    truths = [rng.choice([0, 1, 2, 3, 255], (17, 23)).astype(np.uint8) for _ in range(3)]
    guesses = [rng.integers(0, 4, (17, 23)) for _ in truths]
    answers = iter(guesses)
    pairs = [(np.zeros((17, 23, 3), np.uint8), truth) for truth in truths]
    ours = class_ious(lambda _: next(answers), pairs, ("a", "b", "c", "d", "never"))
    areas = [
        IoUMetric.intersect_and_union(torch.from_numpy(g), torch.from_numpy(t).long(), 5, 255)
        for g, t in zip(guesses, truths, strict=True)
    ]
    theirs = IoUMetric.total_area_to_metrics(*(sum(area) for area in zip(*areas, strict=True)))
    np.testing.assert_allclose(ours.ious, 100 * theirs["IoU"], rtol=1e-6)
    assert np.isnan(ours.ious[4]), "a class that never occurs has no IoU"
    assert ours.mean == pytest.approx(100 * np.nanmean(theirs["IoU"]))
    assert ours.pixel_accuracy == pytest.approx(100 * float(theirs["aAcc"]))


def test_validation_pairs_are_rgb_with_their_masks(small_config, images) -> None:
    pairs = validation_pairs(Config.fromfile(small_config))
    assert len(pairs) == 3
    np.testing.assert_array_equal(pairs[0][0], images[0])
    assert pairs[0][1].shape == (64, 96) and pairs[0][1].max() < 10


def test_images_are_spread_over_the_validation_set(small_config, images) -> None:
    chosen = validation_images(Config.fromfile(small_config), limit=2)
    np.testing.assert_array_equal(chosen[0], images[0])
    np.testing.assert_array_equal(chosen[1], images[2])


def test_missing_validation_set_points_to_images(small_config) -> None:
    cfg = Config.fromfile(small_config)
    cfg.val_dataloader.dataset.data_root = "no/such/folder"
    with pytest.raises(DataError, match="--images"):
        validation_images(cfg, limit=1)
    with pytest.raises(DataError, match="no validation dataset"):
        validation_images(Config({"default_scope": "mmseg"}), limit=1)
