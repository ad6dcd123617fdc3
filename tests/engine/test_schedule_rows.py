"""Promise: the first screen says where batch size and length are not those of the config."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.dataset import Compose

from mmattn.engine.first_screen import training_screen
from mmattn.engine.hooks.last_epochs_pipeline import LastEpochsPipelineHook
from mmattn.engine.schedule_rows import learning_rate_rows, pipeline_rows
from tests.support.toy_training import toy_runner


def runner(
    batch: int = 4, world_size: int = 1, accumulated: int = 1, epochs: int = 20, **parts: Any
) -> Any:
    return SimpleNamespace(
        cfg={"auto_scale_lr": parts.pop("auto_scale_lr", None)},
        train_dataloader=SimpleNamespace(batch_size=batch, dataset=parts.pop("dataset", None)),
        world_size=world_size,
        optim_wrapper=SimpleNamespace(_accumulative_counts=accumulated),
        max_epochs=epochs,
        train_loop=SimpleNamespace(),
        **parts,
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"auto_scale_lr": None}, []),
        ({"auto_scale_lr": {"enable": False}}, []),
        ({"auto_scale_lr": {"base_batch_size": 8}, "world_size": 2}, []),
        ({"auto_scale_lr": {"base_batch_size": 8}, "accumulated": 2}, []),
        ({"auto_scale_lr": {"base_batch_size": 4, "enable": True}}, []),
        (
            {"auto_scale_lr": {"base_batch_size": 64, "enable": False}},
            ["for batches of 64, not of 4: --auto-scale-lr multiplies it by 0.0625"],
        ),
        (
            {"auto_scale_lr": {"base_batch_size": 64, "enable": True}, "world_size": 4},
            ["multiplied by 0.25 (--auto-scale-lr): it was for batches of 64, not of 16"],
        ),
        (
            {"auto_scale_lr": {"base_batch_size": 16}, "accumulated": 2},
            ["not of 4 x 2 accumulated: multiply optim_wrapper.optimizer.lr by 0.5"],
        ),
    ],
)
def test_batches_of_another_size(settings: dict, said: list[str]) -> None:
    rows = list(learning_rate_rows(runner(**settings)))
    assert len(rows) == len(said)
    assert all(part in row for part, row in zip(said, rows, strict=True)), rows


class Mosaic:
    """A transform that only has a name."""

    def __call__(self, sample: dict) -> dict:
        return sample


class Flip(Mosaic):
    """Another one."""


def last_epochs(count: int, **parts: Any) -> LastEpochsPipelineHook:
    return LastEpochsPipelineHook(count, **(parts or {"pipeline": [{"type": "mmdet.Flip"}]}))


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (last_epochs(10), ["the last 10 of 20 epochs without Mosaic"]),
        (last_epochs(20), ["all 20 epochs without Mosaic, as the last 20 of a longer training"]),
        (last_epochs(0), []),
        (last_epochs(5, skip=["mmdet.Mosaic"]), ["the last 5 of 20 epochs without Mosaic"]),
        (
            last_epochs(5, pipeline=[{"type": "Mosaic"}, {"type": "Flip"}]),
            ["the last 5 of 20 epochs with another pipeline"],
        ),
        (
            SimpleNamespace(switch_epoch=280, switch_pipeline=[{"type": "Flip"}]),
            ["no epoch without Mosaic: switch_epoch=280 lies behind the last one"],
        ),
        (
            SimpleNamespace(switch_epoch=18, switch_pipeline=[{"type": "Flip"}]),
            ["the last 2 of 20 epochs without Mosaic"],
        ),
        (
            SimpleNamespace(num_last_epochs=15, skip_type_keys=("Mosaic", "MixUp")),
            ["the last 15 of 20 epochs without Mosaic"],
        ),
        (SimpleNamespace(), []),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pipeline_of_the_last_epochs(hook: Any, said: list[str], wrapped: bool) -> None:
    dataset = SimpleNamespace(pipeline=Compose([Mosaic(), Flip()]))
    if wrapped:
        dataset = SimpleNamespace(dataset=dataset)
    rows = list(pipeline_rows(runner(hooks=[hook], dataset=dataset)))
    assert len(rows) == len(said)
    assert all(row.startswith(part) for part, row in zip(said, rows, strict=True)), rows


def test_the_screen_has_them_and_what_a_manifest_says(tmp_path) -> None:
    screens: list[list[str]] = []

    class Screen(LastEpochsPipelineHook):
        """Takes the screen where the real one is shown."""

        def before_train(self, runner: Any) -> None:
            runner.cfg.auto_scale_lr = {"base_batch_size": 16}
            screens.append(training_screen(runner, "all 8 files have the size"))

        def before_train_epoch(self, runner: Any) -> None:
            """Change nothing."""

    toy_runner(tmp_path, custom_hooks=[Screen(1, pipeline=[])]).train()
    (screen,) = screens
    at = next(index for index, line in enumerate(screen) if line.startswith("schedule"))
    assert "--auto-scale-lr multiplies it by 0.25" in screen[at + 2]
    assert screen[at + 3].strip() == "the last 1 of 2 epochs with another pipeline"
    assert "manifest  all 8 files have the size" in screen
