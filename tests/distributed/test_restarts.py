"""Promise: a run in which one process dies ends, by torchrun's restart, as one without a death."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmattn.data import write_shapes_dataset
from tests.support.two_ranks import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def setting(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The config, which saves every two steps, and the environment of its processes."""
    root = tmp_path_factory.mktemp("restarts")
    write_shapes_dataset(root / "shapes", num_train=12, num_val=2, size=(64, 96), seed=0)
    config = root / "saving.py"
    config.write_text(
        f"_base_ = {str(repo / 'tests/support/configs/tiny_fcn.py')!r}\n"
        "custom_imports = dict(imports=['tests.support.dying_rank'])\n"
        "train_cfg = dict(max_iters=8, val_interval=8)\n"
        "train_dataloader = dict(batch_size=2)\n"
        "model = dict(decode_head=dict(dropout_ratio=0.5))\n"
        "default_hooks = dict(checkpoint=dict(interval=2, save_best=None))\n"
    )
    (root / "killed.py").write_text(
        "_base_ = ['./saving.py']\ncustom_hooks = [dict(type='DieOnceHook', rank=1, step=5)]\n"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "TORCHELASTIC_"))}
    environment = kept | {
        "PYTHONPATH": str(repo), "SHAPES_ROOT": str(root / "shapes"), "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    return {"config": config, "env": environment, "root": root, "repo": repo}


def torchrun(setting: dict, folder: str) -> tuple[str, dict]:
    """Train by torchrun in two processes; return what was said, and the last weights."""
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--max-restarts=1",
                f"--master-port={free_port()}"]  # fmt: skip
    train = ["-m", "mmattn", "train", setting["config"], "--launcher", "pytorch"]
    done = subprocess.run(
        [sys.executable, *launcher, *train, "--work-dir", setting["root"] / folder],
        env=setting["env"], cwd=setting["repo"], capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout + done.stderr, weights(setting["root"] / folder / "iter_8.pth")


def weights(file: Path) -> dict:
    return torch.load(file, weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def undisturbed(setting: dict) -> dict:
    return torchrun(setting, "whole")[1]


def test_a_restarted_run_ends_with_the_same_weights(setting: dict, undisturbed: dict) -> None:
    killed = {**setting, "config": setting["root"] / "killed.py"}
    said, found = torchrun(killed, "killed")
    assert "Restart 1 by torchrun: going on from" in said and "iter_4.pth" in said
    assert found.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        assert torch.equal(found[name], value), name


def test_the_launcher_of_slurm_needs_its_variables_alone(setting: dict, undisturbed: dict) -> None:
    folder = setting["root"] / "slurm"
    command = [sys.executable, "-m", "mmattn", "train", setting["config"], "--launcher", "slurm",
               "--work-dir", folder]  # fmt: skip
    job = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2"}
    ranks = [
        subprocess.Popen(
            command, cwd=setting["repo"], text=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=setting["env"] | job | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)},
        )
        for i in range(2)
    ]  # fmt: skip
    texts = [rank.communicate(timeout=900)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], texts
    found = weights(folder / "iter_8.pth")
    for name, value in undisturbed.items():
        assert torch.equal(found[name], value), name
