"""Promise: a learning rate of 1e30 ends the real command with code 5 and leaves no nan behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

import mmattn.cli.replay
import mmattn.cli.train
from mmattn.config.numerics import NumericsSettings, numerics_problems, read_numerics
from mmattn.errors import ConfigError

FCN = Path(__file__).resolve().parents[2] / "support/configs/tiny_fcn.py"


@pytest.fixture
def train(shapes_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHAPES_ROOT", str(shapes_root))
    # Half of a run this short would be spent on formatting its config.
    monkeypatch.setattr(Config, "pretty_text", property(lambda cfg: repr(cfg.to_dict())))

    def call(*options: str) -> int:
        name = f"experiment_name={tmp_path.name}"
        line = [str(FCN), "--work-dir", str(tmp_path), "--cfg-options", name, *options]
        return mmattn.cli.train.main(line)

    return call


@pytest.mark.parametrize(
    "options",
    [
        ["train_cfg.val_interval=1", "default_hooks.checkpoint.interval=1"],
        pytest.param(["train_cfg.max_iters=1", "train_cfg.val_interval=9"], marks=pytest.mark.slow),
        pytest.param(["numerics.policy=skip"], marks=pytest.mark.slow),
    ],
)
def test_a_huge_rate_ends_with_code_5(options, train, repo, tmp_path: Path, capfd) -> None:
    code = train("optim_wrapper.optimizer.lr=1e30", *options)
    said = capfd.readouterr().err
    last = said.strip().splitlines()[-1]
    files = list(tmp_path.glob("*.pth"))
    for file in files:
        weights = torch.load(file, weights_only=True)["state_dict"]
        assert all(torch.isfinite(value).all() for value in weights.values()), file
    if "train_cfg.max_iters=1" in options:
        assert code == (0 if files else 5)  # huge or infinite, as the gradients will have it
        return
    assert code == 5, said[-3000:]
    assert last.startswith("NumericsError: step ")
    assert "the learning rate is likely too high" in last
    # And the step can be repeated from its file and the config in the folder, by the command.
    file = next(iter(sorted((tmp_path / "bad_steps").iterdir())))
    (tmp_path / FCN.name).write_text(FCN.read_text())  # pretty_text was replaced above
    assert mmattn.cli.replay.main([str(file)]) == 0
    assert "repeated: the same" in capfd.readouterr().out


def test_other_files_are_refused_by_name(tmp_path: Path, capsys) -> None:
    other = tmp_path / "iter_8.pth"
    torch.save({"state_dict": {}, "meta": {}}, other)
    assert mmattn.cli.replay.main([str(other)]) == 4
    assert "is no step that a training has saved" in capsys.readouterr().err
    assert mmattn.cli.replay.main([str(tmp_path / "none.pth")]) == 6


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"policy": "stopp"}, "must be 'stop' or 'skip'. Did you mean 'stop'?"),
        ({"policy": None}, "must be 'stop' or 'skip'"),
        ({"max_in_a_row": 0}, "max_in_a_row=0 must be a whole number of at least 1"),
        ({"max_in_a_row": True}, "must be a whole number"),
        ({"max_in_a_row": 2.5}, "must be a whole number"),
        ({"max_scaler_skips": -1}, "must be a whole number"),
        ({"max_in_row": 3}, "Did you mean 'max_in_a_row'?"),
        ("skip", "must be a dictionary such as"),
        ([("policy", "skip")], "must be a dictionary"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(section, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_numerics({"numerics": section})
    assert said in str(error.value)
    assert len(numerics_problems({"numerics": section})) == 1


def test_settings_that_can() -> None:
    assert read_numerics({}) == NumericsSettings("stop", 5, 100)
    assert read_numerics({"numerics": {"policy": "skip", "max_in_a_row": 2}}).max_in_a_row == 2
