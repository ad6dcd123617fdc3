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
    (block,) = (block for block in BLOCKS if block.language == "bash")
    steps = ["train_cfg.max_iters=4", "train_cfg.max_iters=8", None]
    for command, step in zip(block.commands, steps, strict=True):
        words = shlex.split(command.replace("CONFIG", str(CONFIG)))
        words = [word.replace("epoch_12", "iter_8") for word in words]
        assert main(words[1:] + (["--cfg-options", step] if step else [])) == 0
    assert list(tmp_path.glob("work_dirs/mine/model-????????.safetensors"))
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
