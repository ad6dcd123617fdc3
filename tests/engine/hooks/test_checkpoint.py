"""Promise: whenever a training dies, a complete checkpoint to resume from is there."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import RuntimeInfoHook
from mmengine.registry import HOOKS
from mmengine.runner import find_latest_checkpoint

from mmattn.engine.hooks.checkpoint import CheckpointHook
from mmattn.io import read_checkpoint
from tests.support.toy_training import ToyModel, toy_runner, with_validation

KEEP_ONE = {"max_keep_ckpts": 1}
BEST = {"save_best": "toy/score", "rule": "greater", **KEEP_ONE}
VALIDATING = {"checkpoint": BEST, **with_validation()}


@pytest.fixture(autouse=True)
def one_thread():
    """Small nets, and processes that are forked: other threads would not come along."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of one epoch, to be copied."""
    folder = tmp_path_factory.mktemp("trained")
    toy_runner(folder, **VALIDATING, **epochs(1)).train()
    assert checkpoints(folder) == {"epoch_1.pth", "best_toy_score_epoch_1.pth"}
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of one epoch, to be resumed, at another place than where it was made."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def epochs(count: int) -> dict[str, Any]:
    return {"train_cfg": {"by_epoch": True, "max_epochs": count}}


def checkpoints(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.suffix in (".pth", ".tmp")}


def test_config_name_is_registered() -> None:
    assert HOOKS.get("mmattn.CheckpointHook") is CheckpointHook


def test_order_of_saving(run: Path, monkeypatch) -> None:
    """New file, pointer to it, and only then the old file goes."""
    events = []
    replace, remove = os.replace, os.remove

    def noted_replace(source, target) -> None:
        replace(source, target)
        events.append(("appears", Path(target).name, (run / "last_checkpoint").read_text()))

    def noted_remove(path) -> None:
        events.append(("goes", Path(path).name, (run / "last_checkpoint").read_text()))
        remove(path)

    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "remove", noted_remove)
    toy_runner(run, checkpoint=KEEP_ONE, resume=True, **epochs(2)).train()
    assert events == [
        ("appears", "epoch_2.pth", "epoch_1.pth"),
        ("appears", "last_checkpoint", "epoch_2.pth"),
        ("goes", "epoch_1.pth", "epoch_2.pth"),
    ]


@pytest.mark.parametrize("failing", ["epoch_2.pth", "last_checkpoint", "best_toy_score"])
def test_failed_save_keeps_what_was_there(run: Path, monkeypatch, failing: str) -> None:
    replace = os.replace

    def full(source, target) -> None:
        if Path(target).name.startswith(failing):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        toy_runner(run, **VALIDATING, resume=True, **epochs(4)).train()
    found = checkpoints(run)
    assert "best_toy_score_epoch_1.pth" in found
    assert not any(name.endswith(".tmp") for name in found)
    latest = find_latest_checkpoint(str(run))
    assert read_checkpoint(latest)["meta"]["epoch"] == int(Path(latest).stem[-1])
    if failing != "best_toy_score":
        assert Path(latest).name == "epoch_1.pth"


def test_a_run_killed_between_its_first_checkpoint_and_the_pointer_goes_on(
    tmp_path: Path, monkeypatch
) -> None:
    """It was started anew, without a word."""
    replace, appeared = os.replace, []

    def killed(source, target) -> None:
        if Path(target).name == "last_checkpoint":
            raise KeyboardInterrupt
        replace(source, target)

    def noted(source, target) -> None:
        replace(source, target)
        appeared.append(Path(target).name)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            toy_runner(tmp_path, **epochs(1)).train()
    assert checkpoints(tmp_path) == {"epoch_1.pth"}
    assert not (tmp_path / "last_checkpoint").exists()
    monkeypatch.setattr(os, "replace", noted)
    toy_runner(tmp_path, resume=True, **epochs(2)).train()
    assert appeared == ["epoch_2.pth", "last_checkpoint"], "not the first epoch once more"


def test_best_is_replaced_by_its_better(tmp_path: Path) -> None:
    toy_runner(tmp_path, checkpoint=BEST, **with_validation(), **epochs(4)).train()
    content = read_checkpoint(tmp_path / "epoch_4.pth")
    scores = content["message_hub"]["log_scalars"]["val/toy/score"]["log_history"].tolist()
    best = 1 + scores.index(max(scores))
    assert best > 1, "the toy learns, or nothing is replaced here"
    assert checkpoints(tmp_path) == {"epoch_4.pth", f"best_toy_score_epoch_{best}.pth"}
    info = content["message_hub"]["runtime_info"]
    assert info["best_score"] == max(scores)
    assert Path(info["best_ckpt"]) == tmp_path / f"best_toy_score_epoch_{best}.pth"


def hook_of(runner) -> CheckpointHook:
    return next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))


def test_best_that_is_saved_again_under_its_name_is_not_removed(run: Path) -> None:
    """Validating an epoch anew, with a better result, writes the same file name."""
    runner = toy_runner(run, **VALIDATING, resume=True, **epochs(1))
    runner.train()
    hook_of(runner).after_val_epoch(runner, {"toy/score": 1.0})
    assert checkpoints(run) == {"epoch_1.pth", "best_toy_score_epoch_1.pth"}


def test_several_bests_are_kept_apart(tmp_path: Path) -> None:
    several = {"save_best": ["toy/score", "toy/other"], "rule": "greater", **KEEP_ONE}
    runner = toy_runner(tmp_path, checkpoint=several, **epochs(1))
    runner.train()
    hook = hook_of(runner)
    for score, other in ((1.0, 1.0), (2.0, 0.0)):
        runner.train_loop._epoch += 1
        hook.after_val_epoch(runner, {"toy/score": score, "toy/other": other})
    bests = {name for name in checkpoints(tmp_path) if name.startswith("best")}
    assert bests == {"best_toy_score_epoch_3.pth", "best_toy_other_epoch_2.pth"}


def test_run_can_be_moved_and_resumed(run: Path, trained: Path) -> None:
    assert (run / "last_checkpoint").read_text() == "epoch_1.pth"
    runner = toy_runner(run, **VALIDATING, resume=True, **epochs(4))
    runner.train()
    assert runner.epoch == 4
    (best,) = run.glob("best_*")
    assert best.name != "best_toy_score_epoch_1.pth", "the old best was found where it is now"
    assert checkpoints(run) == {"epoch_4.pth", best.name}
    assert checkpoints(trained) == {"epoch_1.pth", "best_toy_score_epoch_1.pth"}


@pytest.mark.parametrize("metrics", ["toy/score", ["toy/score", "toy/other"], "auto"])
def test_a_best_that_the_resumed_checkpoint_does_not_know_stays_the_best(
    tmp_path: Path, monkeypatch, metrics
) -> None:
    """Stopped between the best checkpoint and the newest: a worse one became the best."""
    saving = {"checkpoint": {**BEST, "save_best": metrics}}

    def stopped(self, runner, step: int, meta: dict) -> None:
        raise KeyboardInterrupt

    runner = toy_runner(tmp_path, **saving, **epochs(1))
    runner.train()
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointHook, "_save_checkpoint_with_step", stopped)
        scores = {"toy/score": 1.0, "toy/other": 1.0}
        RuntimeInfoHook().after_val_epoch(runner, scores)
        with pytest.raises(KeyboardInterrupt):
            hook_of(runner).after_val_epoch(runner, scores)
    assert {"epoch_1.pth", "best_toy_score_epoch_1.pth"} <= checkpoints(tmp_path)
    runner = toy_runner(tmp_path, **saving, resume=True, **epochs(1))
    runner.train()  # nothing is left to train
    hook = hook_of(runner)
    runner.train_loop._epoch += 1
    hook.after_val_epoch(runner, {"toy/score": 0.5, "toy/other": 0.5})
    assert [file.name for file in tmp_path.glob("best_toy_score*")] == [
        "best_toy_score_epoch_1.pth"
    ]
    runner.train_loop._epoch += 1
    hook.after_val_epoch(runner, {"toy/score": 1.5, "toy/other": 1.5})
    assert [file.name for file in tmp_path.glob("best_toy_score*")] == [
        "best_toy_score_epoch_3.pth"
    ]


def test_what_a_killed_run_left_is_removed_at_resume(run: Path, monkeypatch) -> None:
    """Killed after the new checkpoint was written and before the old one was deleted."""
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointHook, "_discard", lambda self, path: None)
        toy_runner(run, checkpoint=KEEP_ONE, resume=True, **epochs(2)).train()
    assert {"epoch_1.pth", "epoch_2.pth"} <= checkpoints(run)
    toy_runner(run, checkpoint=KEEP_ONE, resume=True, **epochs(2)).train()
    assert checkpoints(run) == {"epoch_2.pth", "best_toy_score_epoch_1.pth"}


def test_checkpoints_elsewhere_are_pointed_at_in_full(tmp_path: Path) -> None:
    elsewhere = {"out_dir": str(tmp_path / "big_disk"), **KEEP_ONE}
    toy_runner(tmp_path / "run", checkpoint=elsewhere, **epochs(1)).train()
    latest = find_latest_checkpoint(str(tmp_path / "run"))
    assert latest == str(tmp_path / "big_disk" / "run" / "epoch_1.pth")
    assert read_checkpoint(latest)["meta"]["epoch"] == 1


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_kills_leave_a_checkpoint_to_resume_from(count: int, tmp_path: Path) -> None:
    """A training that does hardly more than saving, killed at random moments and resumed."""
    # Four megabytes, so that it writes most of the time. Built once, trained in forked children.
    model = ToyModel(ballast=1_000_000)
    runner = toy_runner(tmp_path, model=model, checkpoint=KEEP_ONE, resume=True, **epochs(10**6))
    choice = random.Random(count)
    last_epoch = 0
    for _ in range(count):
        child = os.fork()
        if child == 0:
            try:
                runner.train()
            finally:
                os._exit(1)
        # Not before it has saved again, or a slow machine would test nothing.
        deadline = time.monotonic() + 60
        while _newest(tmp_path) <= last_epoch and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(choice.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

        for file in tmp_path.glob("*.pth"):
            read_checkpoint(file)
        epoch = read_checkpoint(find_latest_checkpoint(str(tmp_path)))["meta"]["epoch"]
        assert epoch in (_newest(tmp_path), _newest(tmp_path) - 1)
        assert _newest(tmp_path) > last_epoch, "this child saved nothing"
        last_epoch = _newest(tmp_path)
    assert len(checkpoints(tmp_path)) <= 4, "at most the last child's leftovers"


def _newest(folder: Path) -> int:
    return max((int(file.stem.split("_")[1]) for file in folder.glob("epoch_*.pth")), default=0)
