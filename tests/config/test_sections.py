"""Promise: a section of a wrong type is one typed error with its key, its value and the fix."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmattn.config import load_config
from mmattn.config.sections import section_problems
from mmattn.engine.runner import build_runner
from mmattn.errors import ConfigError
from mmattn.inference import build_model
from mmattn.preflight import preflight
from tests.support.comparison_configs import FCN

WRONG = {
    "model": "x",
    "data_preprocessor": ["SegDataPreProcessor"],
    "train_dataloader": [1],
    "val_dataloader": "x",
    "test_dataloader": 2,
    "train_cfg": 5,
    "val_cfg": "ValLoop",
    "test_cfg": ["TestLoop"],
    "val_evaluator": "IoUMetric",
    "test_evaluator": ["IoUMetric"],
    "optim_wrapper": "X",
    "param_scheduler": "PolyLR",
    "default_hooks": [{"type": "LoggerHook"}],
    "custom_hooks": ["EMAHook"],
    "visualizer": "X",
    "log_processor": 3,
    "randomness": 42,
    "env_cfg": "x",
    "auto_scale_lr": True,
    "tta_model": "SegTTAModel",
    "tta_pipeline": {"type": "Resize"},
    "work_dir": 5,
    "load_from": ["a.pth"],
    "default_scope": ["mmseg"],
}
WRONG_PARTS = {
    "model.backbone": "ResNet",
    "model.decode_head": 3,
    "default_hooks.logger": "LoggerHook",
    "optim_wrapper.optimizer": "SGD",
    "train_dataloader.dataset": "ADE20K",
    "train_dataloader.dataset.pipeline": {"type": "LoadImageFromFile"},
    "val_dataloader.sampler": "DefaultSampler",
}
COMMANDS = {
    "train": [],
    "test": ["gone.pth"],
    "export": ["gone.pth"],
    "predict": ["gone.pth", __file__, "--out", "out"],
    "compare": ["--insert", "SE", "--at", "backbone.layer3", "--budget", "1it"],
    "report": ["gone.pth", "--out", "out"],
    "check": [],
}


@pytest.mark.parametrize("key", [*WRONG, *WRONG_PARTS])
def test_every_section_is_named_with_its_value_and_the_fix(key: str) -> None:
    value = {**WRONG, **WRONG_PARTS}[key]
    cfg: dict[str, Any] = {}
    *parents, last = key.split(".")
    section = cfg
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    (problem,) = section_problems(cfg)
    items = isinstance(value, list) and key in ("test_evaluator", "custom_hooks")
    assert problem.startswith(f"{key}[0]={value[0]!r}" if items else f"{key}={value!r}")
    assert " must be a " in problem
    assert ", such as " in problem


def test_usual_forms_pass() -> None:
    usual = load_config(FCN)
    assert section_problems(usual) == []
    head = usual.model.decode_head
    usual.merge_from_dict({
        "val_evaluator": None, "param_scheduler": None, "visualizer": None, "train_cfg": {},
        "default_hooks.checkpoint": None,
    })  # fmt: skip
    usual.model.decode_head = [head, head]
    usual.param_scheduler, usual.custom_hooks, usual.val_evaluator = [], (), [{"type": "X"}]
    assert section_problems(usual) == []


def test_an_object_is_left_to_whoever_builds_with_it() -> None:
    assert section_problems({"visualizer": object(), "custom_hooks": [object()]}) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_in_this_error(command: str, tmp_path: Path, capsys) -> None:
    """Before any of them could stumble over a section; all sections are listed."""
    config = tmp_path / "config.py"
    config.write_text("".join(f"{key} = {value!r}\n" for key, value in WRONG.items()))
    main = importlib.import_module(f"mmattn.cli.{command}").main
    assert main([str(config), *COMMANDS[command]]) == 2
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == f"ConfigError: {config}: {len(WRONG)} settings are wrong:"
    assert {line.strip().partition("=")[0].partition("[")[0] for line in lines} == set(WRONG)


def test_options_of_the_command_line_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("visualizer = dict(type='X')\ntrain_cfg = dict()\n")
    with pytest.raises(ConfigError, match=r"a\.py: visualizer='x' must be a dict"):
        load_config(tmp_path / "a.py", {"visualizer": "x"})
    (tmp_path / "a.py").write_text("train_cfg = 'Loop'\n")
    with pytest.raises(ConfigError, match=r"a\.py: train_cfg='Loop' must be a dict"):
        load_config(tmp_path / "a.py", {"train_cfg.max_iters": 1})


@pytest.mark.parametrize("key", ["model", "visualizer", "train_cfg", "default_hooks"])
def test_a_config_that_no_command_loaded_is_checked_first(key: str) -> None:
    cfg = Config({"model": {"type": "X"}, "launcher": "none", key: WRONG[key]})
    for build in (
        preflight, build_model, lambda cfg: build_runner(cfg, ["train"]),
        lambda cfg: build_runner(cfg, ["test"]),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=rf"{key}=.* must be a dict"):
            build(cfg)


def test_a_base_of_another_type_is_an_error_of_the_config(tmp_path: Path) -> None:
    """mmengine's own TypeError, which says what is to be done."""
    (tmp_path / "base.py").write_text("model = dict(type='A', backbone='ResNet')\n")
    (tmp_path / "a.py").write_text("_base_ = 'base.py'\nmodel = dict(backbone=dict(depth=18))\n")
    with pytest.raises(ConfigError, match=r"a\.py: the config cannot be read: TypeError.*backbone"):
        load_config(tmp_path / "a.py")
