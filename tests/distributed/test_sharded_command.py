"""Promise: ``torchrun … -m mmattn train CONFIG --launcher pytorch --shard-model`` trains a Swin
whose weights two processes share, as one process does, and its run is an ordinary one.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import mmattn.engine
from mmattn.data import write_shapes_dataset
from tests.support.two_ranks import free_port

pytestmark = pytest.mark.slow

CONFIG = """
_base_ = {base!r}
model = dict(
    backbone=dict(_delete_=True, type="SwinTransformer", embed_dims=16, depths=(2, 2),
        num_heads=(1, 2), strides=(4, 2), window_size=4, out_indices=(1,), drop_path_rate=0.0,
        with_cp=True),
    decode_head=dict(in_channels=32, in_index=0))
train_cfg = dict(max_iters=6, val_interval=6)
optim_wrapper = dict(
    clip_grad=dict(_delete_=True, max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.5))),
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-3, weight_decay=0.05))
default_hooks = dict(checkpoint=dict(interval=3))
"""


@pytest.fixture(scope="module")
def runs(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs: ``whole`` of one process, ``parts`` of two, ``on`` from parts."""
    root = tmp_path_factory.mktemp("swin")
    write_shapes_dataset(root / "shapes", num_train=12, num_val=3, size=(64, 96), seed=0)
    config = root / "swin.py"
    config.write_text(CONFIG.format(base=str(repo / "tests/support/configs/tiny_fcn.py")))
    environment = os.environ | {
        "PYTHONPATH": str(repo), "SHAPES_ROOT": str(root / "shapes"), "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master-port"]
    train = ["-m", "mmattn", "train", config, "--launcher", "pytorch", "--shard-model"]
    words = ["--work-dir", root / "parts", "--cfg-options", "train_dataloader.batch_size=2",
             "model_wrapper_cfg.min_parameters=1000"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, *launcher, str(free_port()), *train, *words],
        env=environment, cwd=repo, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(root / "shapes"))
        mmattn.engine.train(config, work_dir=str(root / "whole"))
        first = root / "parts/iter_3.pth"
        mmattn.engine.train(config, work_dir=str(root / "on"), resume=str(first))
    return root


def assert_close(folder: Path, expected: Path) -> None:
    """Compare the last checkpoints of two runs: weights, and the optimiser's averages."""
    found, other = (torch.load(f / "iter_6.pth", weights_only=True) for f in (folder, expected))
    torch.testing.assert_close(found["state_dict"], other["state_dict"], rtol=1e-4, atol=1e-5)
    assert found["optimizer"]["param_groups"] == other["optimizer"]["param_groups"]
    torch.testing.assert_close(
        found["optimizer"]["state"], other["optimizer"]["state"], rtol=1e-3, atol=1e-6
    )


def test_weights_and_state_equal_those_of_one_process(runs: Path) -> None:
    assert_close(runs / "parts", runs / "whole")


def test_one_process_goes_on_from_the_checkpoint_of_two(runs: Path) -> None:
    assert_close(runs / "on", runs / "whole")


def test_both_processes_validate_like_one(runs: Path) -> None:
    """Three images for two processes, one of which has a pass that does not count."""
    one, two = values(runs / "whole"), values(runs / "parts")
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert two[key] == pytest.approx(value, abs=0.5, nan_ok=True), key  # single pixels


def values(folder: Path) -> dict[tuple[str, str], float]:
    with next(folder.glob("*/results.csv")).open(newline="") as lines:
        return {(row["class"], row["metric"]): float(row["value"]) for row in csv.DictReader(lines)}


def test_the_blocks_of_the_backbone_are_gathered_one_by_one(runs: Path) -> None:
    log = next(runs.glob("parts/*/*.log")).read_text()
    assert (
        "shared out among 2 processes; 4 blocks gather their weights by themselves, from "
        "backbone.stages.0.blocks.0 to backbone.stages.1.blocks.1"
    ) in log


def test_the_report_has_what_the_first_process_finds_alone(runs: Path) -> None:
    facts: list[dict[str, Any]] = [
        json.loads(next(runs.glob(f"{name}/*/report/facts.json")).read_text())["model"]
        for name in ("parts", "whole")
    ]
    assert facts[0] == facts[1]
    assert facts[0]["flops"] > 0
    assert (runs / "parts/report.html").exists()
