"""A training stops when it no longer improves, whether or not it was resumed in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.errors import ConfigError

# Nothing improves by 1000 percent points: each validation after the first one counts as a failure.
STOP = {
    "type": "mmattn.EarlyStoppingHook",
    "monitor": "mIoU",
    "min_delta": 1000,
    "patience": 2,
}
LONG = {"train_cfg.max_iters": 12, "train_cfg.val_interval": 1}


def iterations(folder: Path) -> list[int]:
    return sorted(int(file.stem.partition("_")[2]) for file in folder.glob("iter_*.pth"))


def test_it_stops_after_as_many_validations_as_its_patience(runner, tmp_path: Path) -> None:
    # An earlier run in the same folder has nothing to say.
    (tmp_path / "run").mkdir()
    (tmp_path / "run/early_stopping.json").write_text('{"mIoU": {"1": 99.0, "2": 98.0, "3": 97.0}}')
    built = runner([STOP], **LONG)
    built.train()
    # Upstream compares with a best score of -infinity at first, which nothing fails.
    assert built.iter == 3
    assert iterations(tmp_path / "run") == [2]


def resumed(runner, folder: Path, step: int, **options):
    built = runner([STOP], folder, **{**LONG, **options})
    built._resume, built._load_from = True, str(folder / f"iter_{step}.pth")
    built.train()
    return built


@pytest.mark.slow
def test_a_resumed_run_stops_where_one_that_was_not_interrupted_does(
    runner, tmp_path: Path
) -> None:
    """The checkpoint of step 2 is older than the validation of step 2, which is not repeated."""
    runner([STOP], tmp_path / "a", **{**LONG, "train_cfg.max_iters": 2}).train()
    assert resumed(runner, tmp_path / "a", 2).iter == 3
    # From the same checkpoint again: what happened after it has not happened.
    assert resumed(runner, tmp_path / "a", 2).iter == 3


@pytest.mark.slow
def test_a_run_that_had_stopped_stays_stopped(runner, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    saved = {"train_cfg.val_interval": 2}
    runner([{**STOP, "patience": 1}], folder, **{**LONG, **saved}).train()
    assert iterations(folder) == [2, 4]
    assert resumed(runner, folder, 4, **saved).iter == 6, "more patience goes on"
    assert resumed(runner, folder, 6, **saved).iter == 6


@pytest.mark.slow
def test_a_metric_that_does_not_exist_is_refused(runner) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'mIoU'"):
        runner([{**STOP, "monitor": "mIou"}], **LONG).train()
