"""The last epochs of a training, of whatever length, have the pipeline given for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmcv.transforms import BaseTransform
from mmengine.hooks import Hook

from mmattn.engine.hooks import LastEpochsPipelineHook
from mmattn.errors import ConfigError
from mmattn.registry import TRANSFORMS
from tests.support.toy_training import toy_runner


@TRANSFORMS.register_module(force=True)
class MarkedAsLast(BaseTransform):
    """Marks what went through it."""

    def transform(self, results: dict) -> dict:
        return {**results, "last": True}


class Recorder(Hook):
    """Keeps the epochs whose images are marked."""

    def __init__(self) -> None:
        self.marked: list[int] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if "last" in data_batch:
            self.marked.append(runner.epoch)


def epochs(tmp_path: Path, max_epochs: int, hook: dict, **options) -> list[int]:
    recorder = Recorder()
    runner = toy_runner(
        tmp_path,
        train_cfg={"by_epoch": True, "max_epochs": max_epochs},
        custom_hooks=[{"type": "mmattn.LastEpochsPipelineHook", **hook}, recorder],
        **options,
    )
    runner.train()
    return sorted(set(recorder.marked))


PIPELINE = [{"type": "mmattn.MarkedAsLast"}]


@pytest.mark.parametrize(("length", "expected"), [(5, [3, 4]), (3, [1, 2]), (1, [0])])
def test_the_last_two_epochs(tmp_path: Path, length: int, expected: list[int]) -> None:
    assert epochs(tmp_path, length, {"last_epochs": 2, "pipeline": PIPELINE}) == expected


def test_no_last_epochs_change_nothing(tmp_path: Path) -> None:
    assert epochs(tmp_path, 2, {"last_epochs": 0, "pipeline": PIPELINE}) == []


def test_workers_that_live_on_get_the_pipeline_too(tmp_path: Path) -> None:
    from tests.support.toy_training import _loader

    loader = {**_loader(shuffle=True), "num_workers": 1, "persistent_workers": True}
    hook = {"last_epochs": 1, "pipeline": PIPELINE}
    assert epochs(tmp_path, 3, hook, train_dataloader=loader) == [2]


def test_a_resumed_run_starts_with_it(tmp_path: Path) -> None:
    hook = {"last_epochs": 2, "pipeline": PIPELINE}
    assert epochs(tmp_path, 3, hook) == [1, 2]
    assert epochs(tmp_path, 4, hook, resume=True) == [3]


class SkippingDataset:
    """Stands for mmdet's MultiImageMixDataset."""

    pipeline: list = []
    pipeline_types: list = []

    def update_skip_type_keys(self, keys) -> None:
        self.skipped = keys


def test_a_dataset_that_mixes_images_skips_transforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner: Any = toy_runner(tmp_path)
    hook = LastEpochsPipelineHook(last_epochs=10, skip=["Mosaic"])
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    dataset = SkippingDataset()
    monkeypatch.setitem(runner.train_dataloader.__dict__, "dataset", dataset)
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    assert dataset.skipped == ["Mosaic"]
    hook = LastEpochsPipelineHook(last_epochs=10, pipeline=PIPELINE)
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    assert [type(step) for step in dataset.pipeline] == [MarkedAsLast]
    assert dataset.pipeline_types == ["MarkedAsLast"]


def test_what_cannot_be_switched_is_said_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ToyDataset; give pipeline instead of skip"):
        epochs(tmp_path, 2, {"skip": ["Mosaic"]})
    with pytest.raises(KeyError, match="MarkedAsLost"):
        epochs(tmp_path, 20, {"last_epochs": 1, "pipeline": [{"type": "mmattn.MarkedAsLost"}]})
    assert not list(tmp_path.rglob("epoch_*.pth"))
    with pytest.raises(ConfigError, match="goes by iterations"):
        toy_runner(
            tmp_path,
            train_cfg={"by_epoch": False, "max_iters": 2},
            param_scheduler=None,
            custom_hooks=[{"type": "mmattn.LastEpochsPipelineHook", "pipeline": PIPELINE}],
        ).train()


@pytest.mark.parametrize("given", [{}, {"pipeline": [], "skip": []}])
def test_either_a_pipeline_or_names_are_needed(given: dict) -> None:
    with pytest.raises(ConfigError, match="either pipeline"):
        LastEpochsPipelineHook(**given)
