"""What the tools add to a config, and what the options change, for configs of any shape."""

from __future__ import annotations

import pytest
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from torch.utils.data import DataLoader

from mmattn.config.run_settings import (
    add_default_hooks,
    load_without_workers,
    scale_learning_rate,
    set_work_dir,
    use_amp,
    use_cpu_amp,
)
from mmattn.errors import ConfigError


def config(**keys) -> Config:
    return Config(keys, cfg_text="# no file", filename="folder/name.py")


def hooks(cfg: Config) -> list[str]:
    return [hook["type"] for hook in cfg.custom_hooks]


def test_every_run_gets_progress_tables_curves_and_safe_checkpoints() -> None:
    added = ("Progress", "ClasswiseResults", "EvalPlots", "TrainingCurves", "BroadcastBuffers")
    ours = [f"mmattn.{name}Hook" for name in added]
    bare = config()
    add_default_hooks(bare)
    assert hooks(bare) == ours
    assert bare.default_hooks.checkpoint.type == "mmattn.CheckpointHook"

    full = config(
        custom_hooks=[{"type": "EMAHook"}, {"type": "mmattn.TrainingCurvesHook"}],
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 3}},
    )
    add_default_hooks(full)
    add_default_hooks(full)
    assert sorted(hooks(full)) == sorted([*ours, "EMAHook"]), "added once, nothing lost"
    assert full.default_hooks.checkpoint == {"type": "mmattn.CheckpointHook", "interval": 3}

    for kept in (None, {"type": "theirs.CheckpointHook"}):
        other = config(default_hooks={"checkpoint": kept})
        add_default_hooks(other)
        assert other.default_hooks.checkpoint == kept


@pytest.mark.parametrize("stated", [{"num_workers": 0}, {}])
def test_no_workers_need_no_second_setting(stated: dict) -> None:
    """``num_workers=0`` ended in a ValueError of torch, as nearly all configs keep workers."""
    options = {"persistent_workers": True, "prefetch_factor": 4}
    cfg = config(
        train_dataloader={**stated, **options}, val_dataloader={"num_workers": 2, **options}
    )
    load_without_workers(cfg)
    DataLoader([1, 2], **cfg.train_dataloader)
    assert cfg.val_dataloader == {"num_workers": 2, **options}
    load_without_workers(config())


def test_a_hook_that_is_switched_off_or_the_users_own_stays() -> None:
    off = config(default_hooks={"checkpoint": None})
    own = config(default_hooks={"checkpoint": {"type": "mine.TheirCheckpoints"}})
    for cfg in (off, own):
        add_default_hooks(cfg)
    assert off.default_hooks.checkpoint is None
    assert own.default_hooks.checkpoint.type == "mine.TheirCheckpoints"


@pytest.mark.parametrize(
    ("scope", "written", "used"),
    [
        ("mmseg", "IoUMetric", "mmattn.ClasswiseIoUMetric"),
        ("mmdet", "CocoMetric", "mmattn.ClasswiseCocoMetric"),
        ("mmdet", "mmseg.IoUMetric", "mmattn.ClasswiseIoUMetric"),
        (None, CocoMetric, "mmattn.ClasswiseCocoMetric"),
        ("mmseg", "CocoMetric", "CocoMetric"),
        ("mmdet", "VOCMetric", "mmattn.ClasswiseVOCMetric"),
        ("mmdet", "LVISMetric", "LVISMetric"),
    ],
)
def test_metrics_become_those_that_keep_each_class(scope, written, used) -> None:
    cfg = config(
        default_scope=scope,
        val_evaluator={"type": written, "a": 1},
        test_evaluator=[{"type": "Evaluator", "metrics": [{"type": written}]}, {"type": written}],
    )
    add_default_hooks(cfg)
    assert cfg.val_evaluator == {"type": used, "a": 1}
    assert cfg.test_evaluator[0]["metrics"][0]["type"] == used
    assert cfg.test_evaluator[1]["type"] == used


def test_the_scope_of_a_base_goes_before_the_default_scope() -> None:
    cfg = config(default_scope="mmdet", val_evaluator={"type": "IoUMetric", "_scope_": "mmseg"})
    add_default_hooks(cfg)
    assert cfg.val_evaluator.type == "mmattn.ClasswiseIoUMetric"


def test_the_work_dir_is_the_options_then_the_configs_then_its_name() -> None:
    cfg = config(work_dir="of_config")
    set_work_dir(cfg, None)
    assert cfg.work_dir == "of_config"
    set_work_dir(cfg, "of_option")
    assert cfg.work_dir == "of_option"
    bare = config()
    set_work_dir(bare, None)
    assert bare.work_dir == "work_dirs/name"


def test_mixed_precision_has_a_form_for_gpus_and_one_for_cpus() -> None:
    cfg = config(optim_wrapper={"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 1.0}})
    use_amp(cfg)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.loss_scale) == ("AmpOptimWrapper", "dynamic")
    use_cpu_amp(cfg)
    assert cfg.optim_wrapper.type == "mmattn.CPUAmpOptimWrapper"
    assert "loss_scale" not in cfg.optim_wrapper
    with pytest.raises(ConfigError, match=r"ApexOptimWrapper"):
        use_amp(config(optim_wrapper={"type": "ApexOptimWrapper"}))


def test_scaling_the_learning_rate_needs_to_know_its_batch_size() -> None:
    cfg = config(auto_scale_lr={"base_batch_size": 16})
    scale_learning_rate(cfg)
    assert cfg.auto_scale_lr.enable is True
    with pytest.raises(ConfigError, match="base_batch_size"):
        scale_learning_rate(config(auto_scale_lr={"enable": True}))
