"""Arguments of a CheckpointHook are checked before a training, not when it saves."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmattn.errors import ConfigError
from mmattn.preflight.config_arguments import argument_problems


@pytest.mark.parametrize(
    ("type_name", "key", "hint"),
    [
        ("CheckpointHook", "intervall", " Did you mean 'interval'"),
        ("mmengine.CheckpointHook", "max_keep", " Did you mean 'max_keep_ckpts'"),
        ("mmattn.CheckpointHook", "zebra", ""),
        ("CheckpointHook", "meta", ""),  # an argument of save_checkpoint that the hook gives
    ],
)
@pytest.mark.parametrize("place", ["default_hooks.checkpoint", "custom_hooks[0]"])
def test_unknown_arguments_are_problems(type_name: str, key: str, hint: str, place: str) -> None:
    hook = {"type": type_name, key: 1}
    cfg = Config({"custom_hooks": [hook]})
    if place == "default_hooks.checkpoint":
        cfg = Config({"default_hooks": {"checkpoint": hook}})
    (problem,) = argument_problems(cfg, ["train"])
    assert problem.startswith(f"{place}.{key}: unexpected argument {key!r} for CheckpointHook.")
    assert hint in problem


def test_arguments_of_mmengine_and_of_other_hooks_pass() -> None:
    known = {"interval": 1, "save_best": "auto", "published_keys": ["state_dict"], "priority": 90}
    cfg = {"default_hooks": {"checkpoint": {"type": "CheckpointHook", **known}}}
    assert not argument_problems(Config(cfg), ["train"])
    zebra = {"default_hooks": {"checkpoint": {"type": "CheckpointHook", "zebra": 1}}}
    assert not argument_problems(Config({**zebra, "runner_type": "FlexibleRunner"}), ["train"])


@pytest.mark.parametrize("command", ["train", "check"])
def test_commands_refuse_them_before_the_first_step(command, shapes_root, repo, tmp_path) -> None:
    from mmattn.engine import check, train

    config = repo / "tests/support/configs/tiny_fcn.py"
    roots = {f"{s}_dataloader.dataset.data_root": str(shapes_root) for s in ("train", "val")}
    options = {**roots, "default_hooks.checkpoint.max_keep": 1}
    with pytest.raises(ConfigError, match="Did you mean 'max_keep_ckpts'"):
        if command == "train":
            train(config, work_dir=str(tmp_path), cfg_options=options)
        else:
            check(config, cfg_options=options)
