"""Promise: docs/resume_and_stop.md works as it stands, and names what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mmattn.cli.main import main
from mmattn.data import write_shapes_dataset
from mmattn.engine.hooks.checkpoint import CheckpointHook
from tests.support.code_blocks import read_code_blocks

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/resume_and_stop.md"
BLOCKS = read_code_blocks(GUIDE)
#: What the guide calls CONFIG, and one of its runs.
CONFIG = ROOT / "tests/support/configs/tiny_fcn.py"


@pytest.mark.slow
def test_the_commands(tmp_path: Path, monkeypatch, capfd) -> None:
    write_shapes_dataset(tmp_path / "shapes", num_train=4, num_val=2, size=(64, 64), seed=0)
    monkeypatch.setenv("SHAPES_ROOT", str(tmp_path / "shapes"))
    monkeypatch.chdir(tmp_path)
    start, longer = (block for block in BLOCKS if block.language == "bash")
    train, resume = (command.replace("CONFIG", str(CONFIG)) for command in start.commands)
    (change,) = (command.replace("CONFIG", str(CONFIG)) for command in longer.commands)
    assert main([*shlex.split(train)[1:], "train_cfg.max_iters=4"]) == 0
    assert main([*shlex.split(resume)[1:], "train_cfg.max_iters=4"]) == 0
    change = change.replace("train_cfg.max_epochs=24", "train_cfg.max_iters=8")  # it counts steps
    assert main(shlex.split(change)[1:]) == 0
    assert "goes on from iteration 4" in capfd.readouterr().out


def test_the_hook_takes_what_the_guide_gives_it() -> None:
    (block,) = (block for block in BLOCKS if block.language == "python")
    names: dict = {}
    exec(block.code, names)
    hook = dict(names["default_hooks"]["checkpoint"])
    assert hook.pop("type") == "CheckpointHook"
    assert CheckpointHook(**hook).on_write_error == "continue"


def test_the_proofs_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", GUIDE.read_text("utf-8"))
    assert len(named) == 5 and all((ROOT / name).is_file() for name in named)
