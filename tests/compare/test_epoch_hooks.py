"""Hooks that count epochs act at their share of a training by iterations."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmattn.compare.epoch_hooks import translate_hooks
from mmattn.compare.shared_config import (
    forgetful_parts,
    resumable_checkpoint,
    run_config,
    shared_config,
)
from mmattn.compare.train_variant import _about_stopped
from mmattn.config import load_config
from mmattn.errors import ConfigError
from tests.support.comparison_configs import RETINANET

FLIP = [{"type": "RandomFlip", "prob": 0.5}]


def config(*hooks: dict, epochs: int | None = 20, **default_hooks) -> Config:
    loop = {"max_epochs": epochs} if epochs else {"type": "IterBasedTrainLoop", "max_iters": 50}
    return Config({"train_cfg": loop, "custom_hooks": [*hooks], "default_hooks": default_hooks})


@pytest.mark.parametrize(
    ("hook", "iteration", "change"),
    [
        # 20 epochs in 50 iterations: 2.5 iterations each.
        ({"type": "mmattn.LastEpochsPipelineHook", "last_epochs": 2, "pipeline": FLIP}, 45,
         {"pipeline": FLIP}),
        ({"type": "mmattn.LastEpochsPipelineHook", "skip": ["Mosaic"]}, 25, {"skip": ["Mosaic"]}),
        ({"type": "LastEpochsPipelineHook", "last_epochs": 90, "skip": []}, 0, {"skip": []}),
        ({"type": "PipelineSwitchHook", "switch_epoch": 18, "switch_pipeline": FLIP}, 45,
         {"pipeline": FLIP}),
        ({"type": "YOLOXModeSwitchHook", "num_last_epochs": 5}, 35,
         {"skip": ["Mosaic", "RandomAffine", "MixUp"]}),
    ],
)  # fmt: skip
def test_a_pipeline_changes_after_the_same_share(hook: dict, iteration: int, change: dict) -> None:
    result = translate_hooks(config(hook), epoch=2.5)
    assert result.switches == [{"iteration": iteration, **change}]
    assert f"from iteration {iteration} on" in result.remarks[0]
    assert all("Epoch" not in new["type"] and "Switch" not in new["type"] for new in result.custom)


def test_yolox_gets_its_l1_loss_then_too() -> None:
    result = translate_hooks(config({"type": "YOLOXModeSwitchHook"}, epochs=300), epoch=1.0)
    assert result.custom == [{"type": "mmattn.L1LossFromIterHook", "begin": 284}]


def test_a_model_is_told_epochs_of_the_new_length() -> None:
    result = translate_hooks(config({"type": "SetEpochInfoHook"}), epoch=2.5)
    assert result.custom == [{"type": "mmattn.EpochInfoByIterHook", "iterations_per_epoch": 2.5}]


def test_weights_are_averaged_from_the_same_share() -> None:
    hook = {"type": "EMAHook", "begin_epoch": 4, "momentum": 0.1}
    wanted = {"type": "EMAHook", "begin_iter": 10, "momentum": 0.1}
    result = translate_hooks(config(hook, ema=hook, logger=None), epoch=2.5)
    assert result.custom == [wanted]
    assert result.default == {"ema": wanted, "logger": None}


def test_other_hooks_stay_and_those_that_count_epochs_are_named() -> None:
    counting = {"type": "mmdet.TheirHook", "begin_epoch": 3}
    plain = {"type": "NumClassCheckHook"}
    result = translate_hooks(config(counting, plain, {"type": "EarlyStoppingHook"}), epoch=1.0)
    assert result.custom == [counting, plain]
    assert result.remarks[0].startswith("TheirHook (begin_epoch) counts epochs, of which")
    assert result.remarks[1].startswith("EarlyStoppingHook is left out")


@pytest.mark.parametrize("name", ["mmattn.LastEpochsPipelineHook", "YOLOXModeSwitchHook"])
def test_last_epochs_of_a_training_by_iterations_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"counts the last epochs.*Set train_cfg.type='EpochBas"):
        translate_hooks(config({"type": name}, epochs=None), epoch=1.0)


def test_the_dataset_changes_at_the_sample_of_that_iteration() -> None:
    cfg = load_config(RETINANET, {"train_cfg.max_epochs": 10})
    cfg.custom_hooks = [{"type": "mmattn.LastEpochsPipelineHook", "last_epochs": 1, "pipeline": []}]
    shared, remarks = shared_config(cfg, 20, num_samples=8)
    assert cfg.train_dataloader.batch_size == 4
    assert shared.train_dataloader.dataset.switches == [{"sample": 18 * 4, "pipeline": []}]
    assert shared.custom_hooks == [{"type": "mmattn.SeedPerIterHook"}]
    assert len(remarks) == 1
    cfg.custom_hooks = []
    assert "switches" not in shared_config(cfg, 20, num_samples=8)[0].train_dataloader.dataset


def test_what_no_checkpoint_holds_begins_anew(tmp_path) -> None:
    """A resumed run would mix other images than one that was never stopped."""
    cfg = load_config(RETINANET)
    (tmp_path / "last_checkpoint").write_text("iter_2.pth")
    (tmp_path / "iter_2.pth").touch()
    shared, remarks = shared_config(cfg, 4, num_samples=8)
    assert not remarks and run_config(shared, 0, tmp_path, tmp_path / "seed0.pth").resume
    cfg.train_dataloader.dataset.pipeline.insert(2, {"type": "CachedMosaic"})
    cfg.model.data_preprocessor.batch_augments = [{"type": "BatchSyncRandomResize"}]
    assert forgetful_parts(cfg) == ["BatchSyncRandomResize", "CachedMosaic"]
    shared, remarks = shared_config(cfg, 4, num_samples=8)
    assert "A run that was stopped begins anew: BatchSyncRandomResize (" in remarks[0]
    run = run_config(shared, 0, tmp_path, tmp_path / "seed0.pth")
    assert not run.resume and run.load_from == str(tmp_path / "seed0.pth")


def test_a_run_without_its_pointer_goes_on_from_the_newest_checkpoint(tmp_path) -> None:
    """A run may be killed between a checkpoint and the pointer to it, or lose the named file."""
    shared, _ = shared_config(load_config(RETINANET), 4, num_samples=8)
    weights = tmp_path / "seed0.pth"
    assert resumable_checkpoint(shared, tmp_path) is None
    run = run_config(shared, 0, tmp_path, weights)
    assert not run.resume and run.load_from == str(weights)
    for name in ("iter_9.pth", "iter_10.pth", "iter_x.pth", "best_iter_99.pth"):
        (tmp_path / name).touch()
    for pointer in (None, "", "iter_11.pth"):
        if pointer is not None:
            (tmp_path / "last_checkpoint").write_text(pointer)
        run = run_config(shared, 0, tmp_path, weights)
        assert run.resume and run.load_from == str(tmp_path / "iter_10.pth"), pointer
    (tmp_path / "last_checkpoint").write_text("/moved/from/here/iter_9.pth\n")
    assert resumable_checkpoint(shared, tmp_path) == tmp_path / "iter_9.pth"


def test_a_stopped_run_says_how_it_goes_on(tmp_path) -> None:
    shared, _ = shared_config(load_config(RETINANET), 4, num_samples=8)
    assert "begins anew: it has no checkpoint" in _about_stopped(shared, tmp_path)
    (tmp_path / "iter_2.pth").touch()
    assert "goes on from iter_2.pth" in _about_stopped(shared, tmp_path)
    assert (tmp_path / "iter_2.pth").is_file()
    shared.model.data_preprocessor.batch_augments = [{"type": "BatchSyncRandomResize"}]
    assert "begins anew: its state is in no checkpoint" in _about_stopped(shared, tmp_path)
    assert not (tmp_path / "iter_2.pth").exists()
