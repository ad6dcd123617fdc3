"""YOLOv12 in two processes: a step is the sum of what each half of the batch says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS

from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.data import write_shapes_dataset
from mmattn.inference import build_model
from tests.support.two_ranks import free_port

HERE = Path(__file__).resolve().parents[1] / "support"
STEPS, LEARNING_RATE = 2, 1e-3


@pytest.fixture(scope="module")
def run(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The config, its initial weights, and what each of two processes wrote."""
    root, folder = tmp_path_factory.mktemp("shapes"), tmp_path_factory.mktemp("run")
    write_shapes_dataset(root, num_train=8, num_val=2, size=(96, 128), seed=0)
    bases = ("models/yolov12", "datasets/shapes_detection", "detection_runtime")
    config = folder / "recorded.py"
    config.write_text(
        f"_base_ = {[str(repo / f'configs/_base_/{base}.py') for base in bases]!r}\n"
        "custom_imports = dict(imports=['rank_recorder'])\n"
        "custom_hooks = [dict(type='RankRecorder')]\n"
        "model = dict(bbox_head=dict(num_classes=6))\n"
        # Nothing is drawn, so that the images of a step can be loaded again.
        "train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False,\n"
        "    dataset=dict(pipeline=[dict(type='LoadImageFromFile'),\n"
        "    dict(type='LoadAnnotations', with_bbox=True), dict(type='PackDetInputs')]))\n"
        "val_dataloader = dict(num_workers=0, persistent_workers=False)\n"
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD',\n"
        f"    lr={LEARNING_RATE}, momentum=0.9))\n"
        "param_scheduler = []\n"
        f"train_cfg = dict(type='IterBasedTrainLoop', max_iters={STEPS},\n"
        f"    val_interval={STEPS})\n"
        "val_cfg = dict(type='ValLoop')\ntest_cfg = dict(type='TestLoop')\n"
        "default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False,\n"
        f"    interval={STEPS}))\n"
    )
    options = {"data_root": str(root)}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        cfg = load_config(config, options)
    enter_scope(cfg)
    torch.manual_seed(0)
    torch.save({"state_dict": build_model(cfg).state_dict()}, folder / "initial.pth")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(repo)]), "PYTHON": sys.executable,
        "PORT": str(free_port()), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        "RANK_RECORDS": str(folder),
    }  # fmt: skip
    command = [repo / "tools/dist_train.sh", config, "2", "--work-dir", folder / "two"]
    done = subprocess.run(
        [*command, "--cfg-options", f"data_root={root}", f"load_from={folder / 'initial.pth'}"],
        env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    ranks = [torch.load(folder / f"rank{rank}.pth", weights_only=True) for rank in (0, 1)]
    return {"cfg": cfg, "initial": folder / "initial.pth", "ranks": ranks}


@pytest.mark.slow
def test_both_processes_end_with_the_same_weights(run: dict[str, Any]) -> None:
    first, second = run["ranks"]
    assert first["wrapper"] == "MMDistributedDataParallel"
    assert first["losses"] != second["losses"], "both saw the same images"
    for name, value in first["weights"].items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(value, second["weights"][name]), name


@pytest.mark.slow
def test_a_step_is_that_of_the_sum_of_both_losses(run: dict[str, Any]) -> None:
    """The loss grows with the number of processes, whose gradients are averaged.

    One process with the whole batch would take other statistics in its batch norms, and divide by
    the targets of all images; so each half is run for itself here.
    """
    cfg = run["cfg"]
    model = build_model(cfg, run["initial"]).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    dataset = DATASETS.build(cfg.train_dataloader["dataset"])
    place = {Path(dataset.get_data_info(i)["img_path"]).name: i for i in range(len(dataset))}
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)
    for step in range(STEPS):
        optimizer.zero_grad()
        for rank in run["ranks"]:
            batch = pseudo_collate([dataset[place[name]] for name in rank["images"][step]])
            data = model.data_preprocessor(batch, True)
            loss, _ = model.parse_losses(model(**data, mode="loss"))
            assert rank["losses"][step] == pytest.approx(2 * float(loss.detach()), rel=1e-3)
            loss.backward()
        optimizer.step()
    theirs = run["ranks"][0]["weights"]
    moved = 0.0
    for name, value in model.named_parameters():
        torch.testing.assert_close(theirs[name], value.data, rtol=1e-3, atol=1e-5, msg=name)
        moved = max(moved, float((value.data - before[name]).abs().max()))
    assert moved > 1e-3, "the steps were too small to tell anything"
