"""Promise: Mask2Former's network, losses and panoptic results fit together, so that it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmattn.config import load_config
from mmattn.data import write_shapes_dataset
from mmattn.engine import train
from tests.conftest import REPO

EIGHT = REPO / "configs/mask2former/mask2former_r18_1xb4-200_eight-shapes-panoptic-128x96.py"


@pytest.mark.slow
def test_eight_images_are_learnt_by_heart(tmp_path: Path) -> None:
    """From random weights, in about 2 minutes of a core; an untrained network has a PQ of 0."""
    write_shapes_dataset(tmp_path / "shapes", num_train=8, num_val=1, size=(96, 128), seed=0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runner = train(
            EIGHT,
            work_dir=str(tmp_path / "run"),
            cfg_options={
                "data_root": str(tmp_path / "shapes"),
                "randomness.seed": 0,
                "train_dataloader.num_workers": 0,
                "train_dataloader.persistent_workers": False,
                "val_dataloader.num_workers": 0,
                "val_dataloader.persistent_workers": False,
            },
        )
    finally:
        torch.set_num_threads(threads)
    found = runner.message_hub.get_scalar("val/coco_panoptic/PQ").current()
    assert found > 60, found


def test_trained_images_are_the_validation_images() -> None:
    """Otherwise the test above would ask for more than learning by heart."""
    for path in (REPO / "configs/mask2former").glob("*_eight-*.py"):
        cfg = load_config(path)
        train_set, val_set = (cfg[f"{split}_dataloader"].dataset for split in ("train", "val"))
        assert train_set.indices == val_set.indices == 8
        assert train_set.split == val_set.split == "train"
        assert "RandomFlip" not in {step.type for step in train_set.pipeline}
        sizes = [
            step.scale
            for dataset in (train_set, val_set)
            for step in dataset.pipeline
            if step.type == "Resize"
        ]
        assert len(sizes) == 2 and sizes[0] == sizes[1], path.stem
