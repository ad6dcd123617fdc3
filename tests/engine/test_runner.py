"""What is refused before a runner is built."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmattn.engine.runner import build_runner
from mmattn.errors import ConfigError


@pytest.mark.parametrize(
    ("splits", "missing"),
    [
        (("train", "val"), "model, train_dataloader, train_cfg, optim_wrapper"),
        (("test",), "model, test_dataloader, test_cfg, test_evaluator"),
    ],
)
def test_a_part_of_a_config_is_refused_with_what_it_lacks(splits, missing: str) -> None:
    keys = {"default_scope": "mmseg", "launcher": "none"}
    cfg = Config(keys, cfg_text="# no file", filename="part.py")
    with pytest.raises(ConfigError, match=rf"part\.py: has no {missing}"):
        build_runner(cfg, splits)
