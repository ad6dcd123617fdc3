"""Detectors in a comparison: the same data whatever mixes it, and a result that is COCO's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmattn.compare.image_counts import DetectionCounts, load_counts
from mmattn.compare.initial_weights import write_initial_weights
from mmattn.compare.places import parse_places, with_block
from mmattn.compare.shared_config import shared_config
from mmattn.compare.train_variant import run_variant
from mmattn.compare.variants import parse_variant
from mmattn.config import load_config
from tests.support.comparison_configs import RETINANET

PACK = {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape")}
RESIZE = {"type": "Resize", "scale": (96, 96), "keep_ratio": False}


def mixing_config() -> Config:
    """The tiny RetinaNet on mosaics, but for the last of its two epochs."""
    cfg = load_config(RETINANET)
    plain = cfg.train_dataloader.dataset.to_dict()
    plain["pipeline"] = plain["pipeline"][:2]
    cfg.train_dataloader.dataset = {
        "type": "MultiImageMixDataset",
        "dataset": plain,
        "pipeline": [{"type": "Mosaic", "img_scale": (64, 64)}, RESIZE, PACK],
    }
    cfg.train_dataloader.batch_sampler = {"type": "AspectRatioBatchSampler", "batch_size": 4}
    cfg.train_dataloader.pop("batch_size")
    hook = {"type": "mmattn.LastEpochsPipelineHook", "last_epochs": 1, "pipeline": [RESIZE, PACK]}
    cfg.custom_hooks = [hook]
    cfg.model.test_cfg.score_thr = 0.0  # six steps make nobody sure
    return cfg


@pytest.mark.slow
def test_a_run_on_mixed_images_that_was_stopped_ends_as_if_it_was_not(tmp_path: Path) -> None:
    """The pipeline changes at iteration 3 of 6; stopped on either side, all goes on the same."""
    cfg = mixing_config()
    shared, _ = shared_config(cfg, 6, num_samples=8)
    assert [switch["sample"] for switch in shared.train_dataloader.dataset.switches] == [3 * 4]
    shared.default_hooks["checkpoint"]["interval"] = 1
    weights = tmp_path / "seed0.pth"
    write_initial_weights(shared, 0, weights)
    block = parse_variant("SE").block
    shared.model = with_block(cfg.to_dict()["model"], block, parse_places(["neck"], cfg))
    shared.dump(tmp_path / "SE.py")
    variant = Config.fromfile(tmp_path / "SE.py")

    def stop(at: int):
        def progress(done: int, total: int) -> None:
            if done == at:
                raise KeyboardInterrupt

        return progress

    wanted = run_variant(variant, 0, tmp_path / "whole", weights, stop(-1))
    for at in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            run_variant(variant, 0, tmp_path / "stopped", weights, stop(at))
    result = run_variant(variant, 0, tmp_path / "stopped", weights, stop(-1))
    assert len(result["step_seconds"]) < len(wanted["step_seconds"])
    assert result["metrics"] == wanted["metrics"]

    runs = []
    for folder, run in (("whole", wanted), ("stopped", result)):
        counts = load_counts(tmp_path / folder, run, "coco/bbox_mAP")
        assert isinstance(counts, DetectionCounts)
        runs.append(counts.matches)
        for name in ("coco/bbox_mAP", "coco/bbox_mAP_50", "coco/bbox_mAP_75"):
            # The evaluation rounds to three digits.
            assert counts.value(name) == pytest.approx(run["metrics"][name], abs=0.00051)
    assert len(runs[0].det_score) > 0
    assert np.array_equal(runs[0].det_score, runs[1].det_score)
    assert np.array_equal(runs[0].match, runs[1].match)
