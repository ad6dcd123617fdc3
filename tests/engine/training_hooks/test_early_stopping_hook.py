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
    built = runner([STOP], **LONG)
    built.train()
    # Upstream compares with a best score of -infinity at first, which nothing fails.
    assert built.iter == 3
    assert iterations(tmp_path / "run") == [2]


def test_a_resumed_run_has_not_forgotten(runner, tmp_path: Path) -> None:
    runner([STOP], tmp_path / "a", **{**LONG, "train_cfg.max_iters": 2}).train()
    # The checkpoint of step 2 was written before the validation of step 2: it knows of one.
    built = runner([STOP], tmp_path / "a", **LONG)
    built._resume, built._load_from = True, str(tmp_path / "a/iter_2.pth")
    built.train()
    assert built.iter == 4, "the validations 1, 3 and 4, one of them the first"
    (hook,) = (one for one in built.hooks if type(one).__name__ == "EarlyStoppingHook")
    assert hook.wait_count == 2


def test_a_metric_that_does_not_exist_is_refused(runner) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'mIoU'"):
        runner([{**STOP, "monitor": "mIou"}], **LONG).train()
