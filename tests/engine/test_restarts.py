"""Promise: a training that is started again goes on from what its own job has saved."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmattn.engine.distributed import set_standard_variables
from mmattn.engine.restarts import Launch, find_launch, resume_after_restart
from tests.support.toy_training import toy_runner

FIRST, AGAIN = Launch("SLURM 7", 0, "SLURM"), Launch("SLURM 7", 1, "SLURM")


def resumed_epoch(folder: Path, launch: Launch, **settings) -> int:
    """The epoch after which a training would go on."""
    runner = toy_runner(folder, **settings)
    resume_after_restart(runner, launch)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.load_or_resume()
    return runner.epoch


def test_a_restart_goes_on_from_the_checkpoints_of_its_job(tmp_path: Path) -> None:
    runner = toy_runner(tmp_path)
    resume_after_restart(runner, FIRST)
    runner.train()
    assert resumed_epoch(tmp_path, AGAIN) == 2


def test_what_lay_there_before_the_job_is_not_the_job_s(tmp_path: Path) -> None:
    toy_runner(tmp_path).train()
    assert resumed_epoch(tmp_path, FIRST) == 0
    assert resumed_epoch(tmp_path, AGAIN) == 0
    assert resumed_epoch(tmp_path, Launch("SLURM 8", 1, "SLURM")) == 0  # ended before it began


def test_a_restart_leaves_the_checkpoint_that_was_asked_for_once_it_has_one(tmp_path) -> None:
    toy_runner(tmp_path / "first").train()
    first = {"resume": True, "load_from": str(tmp_path / "first/epoch_1.pth")}
    folder = tmp_path / "second"
    assert resumed_epoch(folder, FIRST, **first) == 1
    assert resumed_epoch(folder, AGAIN, **first) == 1
    toy_runner(folder, **first).train()
    assert resumed_epoch(folder, AGAIN, **first) == 2


@pytest.mark.parametrize(
    ("environment", "launch"),
    [
        ({}, None),
        ({"TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_RESTART_COUNT": "2"},
         Launch("torchrun a", 2, "torchrun")),
        ({"SLURM_JOB_ID": "7"}, Launch("SLURM 7", 0, "SLURM")),
        ({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"}, AGAIN),
        ({"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1", "TORCHELASTIC_RUN_ID": "a",
          "TORCHELASTIC_RESTART_COUNT": "0"}, AGAIN),
        ({"SLURM_JOB_ID": "7", "TORCHELASTIC_RUN_ID": "a", "TORCHELASTIC_RESTART_COUNT": "1"},
         Launch("SLURM 7", 1, "torchrun")),
    ],
)  # fmt: skip
def test_restarts_are_read_from_the_environment(environment: dict, launch) -> None:
    assert find_launch(environment) == launch


def test_the_variables_of_slurm_are_enough(monkeypatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    given = {"PROCID": "3", "NTASKS": "4", "LOCALID": "1", "JOB_ID": "123456", "STEP_ID": "1",
             "STEP_NODELIST": "gpu[09-11],big[1,3]"}  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    set_standard_variables("slurm")
    found = {name: os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    assert found == {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu09", "23457")
