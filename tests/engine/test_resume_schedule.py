"""Promise: a schedule that was changed before a resumption is never followed without a word."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmattn.engine.optim import LinearWithWarmup
from mmattn.engine.resume_schedule import (
    _epoch_length,
    check_resumed_schedule,
    schedule_changes,
)
from mmattn.errors import ConfigError
from tests.support.toy_training import toy_runner

#: Epochs behind the checkpoint; its training was planned for four.
DONE, PLANNED = 2, 4


def schedules(epochs: int) -> dict[str, list[dict[str, Any]]]:
    """Return schedules of each kind that trainings use, for a number of epochs."""
    return {
        "LinearLR": [{"type": "LinearLR", "start_factor": 1.0, "end_factor": 0.01}],
        "LinearLR in iterations": [
            {"type": "LinearLR", "start_factor": 1.0, "end_factor": 0.1,
             "convert_to_iter_based": True},
        ],
        "CosineAnnealingLR": [{"type": "CosineAnnealingLR", "T_max": epochs}],
        "cosine, warmed up": [
            {"type": "LinearLR", "start_factor": 0.1, "begin": 0, "end": 3, "by_epoch": False},
            {"type": "CosineAnnealingLR", "T_max": epochs - 1, "begin": 1, "end": epochs,
             "convert_to_iter_based": True},
        ],
        "MultiStepLR": [{"type": "MultiStepLR", "milestones": [epochs // 2, epochs - 1]}],
        "PolyLR": [{"type": "PolyLR", "power": 0.9, "eta_min": 1e-4}],
        "OneCycleLR": [{"type": "OneCycleLR", "eta_max": 0.2, "total_steps": epochs}],
        "LinearWithWarmup": [
            {"type": LinearWithWarmup, "param_name": "lr", "warmup": 1, "end_factor": 0.01,
             "convert_to_iter_based": True},
        ],
    }  # fmt: skip


KINDS = tuple(schedules(PLANNED))


def runner_of(folder: Path, kind: str, epochs: int, **overrides: Any):
    planned = {"train_cfg": {"by_epoch": True, "max_epochs": epochs}}
    runner = toy_runner(
        folder, **planned, **{"param_scheduler": schedules(epochs)[kind], **overrides}
    )
    rates: list[float] = []
    after = runner.call_hook

    def call_hook(name: str, **kwargs: Any) -> None:
        if name == "before_train_iter":
            rates.append(runner.optim_wrapper.get_lr()["lr"][0])
        after(name, **kwargs)

    runner.call_hook = call_hook
    return runner, rates


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory):
    """Return a function from a kind of schedule to a checkpoint of a training that it planned."""
    made: dict[str, Path] = {}

    def checkpoint(kind: str) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp("interrupted")
            runner_of(folder, kind, PLANNED)[0].train()
            made[kind] = folder / f"epoch_{DONE}.pth"
        return made[kind]

    return checkpoint


def resumed(folder: Path, checkpoint: Path, kind: str, epochs: int, choice: str | None, **more):
    runner, rates = runner_of(folder, kind, epochs, resume=True, load_from=str(checkpoint), **more)
    runner.cfg["resume_schedule"] = choice
    check_resumed_schedule(runner)
    runner.train()
    return rates


@pytest.mark.parametrize("epochs", [6, 3], ids=["longer", "shorter"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_schedule_is_refused_or_planned_anew(
    kind: str, epochs: int, interrupted, tmp_path: Path
) -> None:
    checkpoint = interrupted(kind)
    with pytest.raises(ConfigError) as error:
        resumed(tmp_path / "refused", checkpoint, kind, epochs, None)
    text = str(error.value)
    assert str(checkpoint) in text and "resume_schedule=new" in text and "=old" in text
    assert "(checkpoint: " in text and "\n" not in text

    runner, whole = runner_of(tmp_path / "whole", kind, epochs)
    runner.train()
    rates = resumed(tmp_path / "new", checkpoint, kind, epochs, "new")
    assert len(rates) == len(whole) * (epochs - DONE) // epochs > 0
    assert rates == pytest.approx(whole[-len(rates) :], rel=1e-9), "as without an interruption"

    kept = resumed(tmp_path / "old", checkpoint, kind, epochs, "old")
    assert kept != pytest.approx(rates, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_schedule_is_resumed_without_a_question(
    kind: str, interrupted, tmp_path: Path
) -> None:
    runner, whole = runner_of(tmp_path / "whole", kind, PLANNED)
    runner.train()
    rates = resumed(tmp_path / "run", interrupted(kind), kind, PLANNED, None)
    assert rates == pytest.approx(whole[-len(rates) :], rel=1e-12)


@pytest.mark.parametrize(
    ("steps", "epochs", "length"), [(8, 2, 4), (10, 2, 4), (3, 0, 4), (16, 2, 8), (20, 0, 20)]
)
def test_the_length_of_an_epoch(steps: int, epochs: int, length: int) -> None:
    """Also of a checkpoint within an epoch, and of one whose batches were of another size."""
    runner: Any = SimpleNamespace(train_loop=None, train_dataloader=range(4))
    assert _epoch_length(runner, steps, epochs) == length


def test_the_message_has_both_values_and_what_stays(interrupted, tmp_path: Path) -> None:
    checkpoint = interrupted("LinearLR").with_name(f"epoch_{PLANNED}.pth")
    with pytest.raises(
        ConfigError,
        match=r"LinearLR of lr: end 6 \(checkpoint: 4\).*which is over: lr stays at 0\.0001",
    ):
        resumed(tmp_path, checkpoint, "LinearLR", 6, None)


def test_another_base_rate_and_another_number_of_schedulers_are_changes(
    interrupted, tmp_path: Path
) -> None:
    faster = {"optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9}}
    with pytest.raises(ConfigError, match=r"base lr 0\.02 \(checkpoint: 0\.01\)"):
        resumed(tmp_path / "a", interrupted("PolyLR"), "PolyLR", 4, None, optim_wrapper=faster)
    none: Any = {"param_scheduler": []}
    with pytest.raises(ConfigError, match=r"0 schedulers \(checkpoint: 1\)"):
        resumed(tmp_path / "b", interrupted("PolyLR"), "PolyLR", 4, None, **none)
    other = {"param_scheduler": schedules(4)["MultiStepLR"]}
    with pytest.raises(ConfigError, match=r"MultiStepLR of lr \(checkpoint: another kind"):
        resumed(tmp_path / "c", interrupted("PolyLR"), "PolyLR", 4, None, **other)


def test_a_wrong_choice_is_refused(tmp_path: Path) -> None:
    runner, _ = runner_of(tmp_path, "PolyLR", 2)
    runner.cfg["resume_schedule"] = "knew"
    with pytest.raises(ConfigError, match=r"resume_schedule='knew'.*Did you mean 'new'"):
        check_resumed_schedule(runner)


def test_equal_schedules_have_no_changes(tmp_path: Path) -> None:
    runner, _ = runner_of(tmp_path, "cosine, warmed up", 3)
    runner.train()
    saved = [scheduler.state_dict() for scheduler in runner.param_schedulers]
    assert schedule_changes(runner.param_schedulers, saved) == []
