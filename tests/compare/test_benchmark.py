"""Promise: ``mmattn benchmark`` measures contenders in turns, and says what each number is of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmattn.cli.benchmark import parse_args
from mmattn.cli.main import main
from mmattn.compare.benchmark import Contender, measure_contenders, model_contender
from mmattn.compare.loader_speed import measure_pipeline
from mmattn.config import load_config

CONFIGS = Path(__file__).resolve().parents[1] / "support/configs"


@pytest.mark.parametrize("name", ["tiny_fcn.py", "tiny_retinanet.py"])
def test_a_model_runs_on_images_of_the_size_that_is_asked_for(name: str) -> None:
    cfg = load_config(CONFIGS / name)
    seen = []
    one = model_contender(name, cfg, None, size=(64, 96), batch=2)
    assert one.parameters > 0 and one.flops > 0
    larger = model_contender(name, cfg, None, size=(128, 96))
    assert larger.flops == pytest.approx(2 * one.flops, rel=0.02)
    seen.extend(one.call())
    assert len(seen) == 2
    assert tuple(seen[0].ori_shape) == (64, 96)


def test_contenders_take_turns_and_medians_are_of_all_rounds() -> None:
    calls = []
    contenders = [
        Contender(name, lambda name=name: calls.append(name), 1, 2, "r", False) for name in "ab"
    ]
    first, second = measure_contenders(contenders, batch=4, rounds=6)
    assert calls == ["a", "b", "b", "a"] * 4
    assert len(first.rounds) == len(second.rounds) == 6
    assert first.interval[0] <= first.seconds <= first.interval[1]
    assert first.images_per_second == pytest.approx(4 / first.seconds)
    assert first.peak_memory is None


def test_memory_is_that_of_a_call() -> None:
    one = Contender("a", lambda: torch.zeros(1 << 18), 0, 0, "torch", True)
    (measured,) = measure_contenders([one], rounds=2)
    assert measured.peak_memory == 1 << 20


def test_the_command_prints_a_row_for_each(tmp_path: Path, capsys) -> None:
    fcn, out = str(CONFIGS / "tiny_fcn.py"), tmp_path / "found.json"
    words = ["benchmark", fcn, fcn, "--size", "64", "64", "--rounds", "2", "--json", str(out)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "1 image of 64 x 64 at a time; cpu" in shown
    assert shown.count("tiny_fcn") == 2
    found = json.loads(out.read_text())
    assert [len(one["rounds"]) for one in found["measured"]] == [2, 2]


def test_the_pipeline_is_timed_step_by_step() -> None:
    cfg = load_config(CONFIGS / "tiny_fcn.py")
    speed = measure_pipeline(cfg, images=3)
    names = [step["type"].rpartition(".")[2] for step in cfg.train_dataloader.dataset.pipeline]
    assert [step.name for step in speed.steps] == names
    assert all(step.calls == 3 for step in speed.steps)
    assert 0 < sum(step.seconds for step in speed.steps) <= speed.seconds


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["c.py", "--batch", "0"], "--batch 0: must be at least 1"),
        (["c.py", "d.py", "--data"], "--data measures the data of one config"),
        (["c.py", "--data", "--rounds", "9"], "--data takes no --rounds"),
        (["c.py", "--num", "9"], "a benchmark of models takes no --num"),
        (["m.onnx", "a=1"], "settings are for configs; m.onnx is an exported file"),
        (["m.onnx", "--device", "cuda"], "--device is for configs; m.onnx is an exported file"),
    ],
)
def test_options_without_an_effect_are_refused(words: list[str], said: str, capsys) -> None:
    with pytest.raises(SystemExit):
        parse_args(words)
    assert said in capsys.readouterr().err
