"""Arguments of a CheckpointHook are checked before a training, not when it saves."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmattn.errors import ConfigError
from mmattn.preflight.checkpoint_hook import check_checkpoint_hooks


@pytest.mark.parametrize(
    ("type_name", "key", "hint"),
    [
        ("CheckpointHook", "intervall", "Did you mean 'interval'"),
        ("mmengine.CheckpointHook", "max_keep", "Did you mean 'max_keep_ckpts'"),
        ("mmattn.CheckpointHook", "zebra", "unexpected argument 'zebra'"),
        ("mmdet.CheckpointHook", "meta", "unexpected argument 'meta'"),  # save_checkpoint's own
        (None, "safe_best", "Did you mean 'save_best'"),
    ],
)
@pytest.mark.parametrize("place", ["default_hooks.checkpoint", "custom_hooks[0]"])
def test_unknown_arguments_are_refused(
    type_name: str | None, key: str, hint: str, place: str
) -> None:
    hook = {"type": type_name, key: 1} if type_name else {key: 1}
    if place == "custom_hooks[0]":
        cfg = Config({"custom_hooks": [{"type": "CheckpointHook", **hook}]})
    else:
        cfg = Config({"default_hooks": {"checkpoint": hook}})
    with pytest.raises(ConfigError, match=hint) as error:
        check_checkpoint_hooks(cfg, "my.py")
    assert str(error.value).startswith(f"my.py: {place}.{key}=1: unexpected argument")


def test_arguments_of_mmengine_and_of_other_hooks_pass() -> None:
    known = {"interval": 1, "save_best": "auto", "published_keys": ["state_dict"], "priority": 90}
    hooks = {
        "checkpoint": {"type": "CheckpointHook", **known},
        "timer": {"type": "IterTimerHook", "zebra": 1},
    }
    others = [{"type": "other.CheckpointHook", "zebra": 1}]
    check_checkpoint_hooks(Config({"default_hooks": hooks, "custom_hooks": others}))
    check_checkpoint_hooks(Config({"default_hooks": {"checkpoint": None}}))
    zebra = {"default_hooks": {"checkpoint": {"type": "CheckpointHook", "zebra": 1}}}
    check_checkpoint_hooks(Config({**zebra, "runner_type": "OtherRunner"}))


@pytest.mark.parametrize("command", ["train", "check_data"])
def test_commands_refuse_them_before_the_first_step(command, shapes_root, repo, tmp_path) -> None:
    from mmattn.engine import check, train

    config = repo / "tests/support/configs/tiny_fcn.py"
    roots = {f"{s}_dataloader.dataset.data_root": str(shapes_root) for s in ("train", "val")}
    options = {**roots, "default_hooks.checkpoint.intervall": 1}
    with pytest.raises(ConfigError, match="Did you mean 'interval'"):
        if command == "train":
            train(config, work_dir=str(tmp_path), cfg_options=options)
        else:
            check(config, cfg_options=options)
