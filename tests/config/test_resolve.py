"""Resolving a config: steps in order, on a copy, each of them written down."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mmattn.config import load_config
from mmattn.config.resolve import ABSENT, Change, Step, resolve
from mmattn.engine.runner import run_steps
from mmattn.engine.train import training_steps
from mmattn.errors import ConfigError

TINY = "tests/support/configs/tiny_fcn.py"


def double(cfg: Config) -> Config:
    cfg.a = cfg.a * 2
    return cfg


def test_steps_follow_each_other_on_a_copy() -> None:
    cfg = Config({"a": 1, "b": {"c": [1, 2]}})

    def drop(cfg: Config) -> Config:
        cfg.b.c[1] = {"d": cfg.a}
        return cfg

    result = resolve(cfg, [Step("first", double), Step("second", double), Step("third", drop)])
    assert (result.cfg.a, cfg.a) == (4, 1)
    assert cfg.b.c == [1, 2]
    assert result.changes == (
        Change("first", "a", 1, 2),
        Change("second", "a", 2, 4),
        Change("third", "b.c[1].d", ABSENT, 4),
        Change("third", "b.c[1]", 2, ABSENT),
    )
    assert str(result).splitlines()[:3] == [
        "first: a = 2 (was 1)",
        "second: a = 4 (was 2)",
        "third: b.c[1].d = 4",
    ]


def test_what_a_step_finds_wrong_is_raised() -> None:
    def refuse(cfg: Config) -> Config:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        resolve(Config({}), [Step("refuse", refuse)])
    assert str(resolve(Config({}), [])) == "no step changes this config"


def test_the_steps_of_a_training_say_what_they_do(repo: Path) -> None:
    cfg = load_config(repo / TINY)
    cfg.launcher = "none"
    steps = training_steps("there", amp=True, auto_scale_lr=False, resume="auto")
    result = resolve(cfg, [*steps, *run_steps(cfg)])
    by_step = {change.step: change for change in result.changes}
    assert list(by_step)[:3] == ["work dir", "--amp", "--resume"]
    assert by_step["work dir"].after == "there"
    assert "default hooks: val_evaluator.type = 'mmattn.ClasswiseIoUMetric'" in str(result)
    assert cfg.get("work_dir") != "there"
    assert cfg.val_evaluator.type == "IoUMetric"
