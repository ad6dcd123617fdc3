"""The schedule of configs/_base_/schedules/yolov12_600e.py, against numbers published for it.

The released logs of the paper's training, with 463 iterations per epoch, show a learning rate of
0.00332613 after epoch 1 and 0.0001165 after epoch 600.
"""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS
from torch import nn

from mmattn.config import load_config
from mmattn.engine.optim import LinearWithWarmup
from mmattn.preflight.run import check_config
from tests.support.toy_training import toy_runner

EPOCH, EPOCHS = 463, 600
END = EPOCH * EPOCHS - 1


@pytest.fixture(scope="module")
def schedule(repo: Path) -> Config:
    return load_config(repo / "configs/_base_/schedules/yolov12_600e.py")


class Values:
    """Values of the config's schedulers at single iterations of a training."""

    def __init__(self, schedule: Config, epochs: int = EPOCHS, **lr: Any) -> None:
        wrapper = schedule.optim_wrapper.to_dict()
        model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
            {"type": wrapper.pop("constructor"), "optim_wrapper_cfg": wrapper}
        )
        self.optimizer = constructor(model)
        settings = [dict(one) for one in schedule.param_scheduler]
        settings[0].update(lr)
        self.schedulers = [
            PARAM_SCHEDULERS.build(
                {"end": epochs, **one},
                default_args={"optimizer": self.optimizer, "epoch_length": EPOCH},
            )
            for one in settings
        ]

    def at(self, iteration: int, key: str = "lr", group: str = "weight") -> float:
        self.optimizer._global_step = 0
        for scheduler in self.schedulers:
            scheduler._global_step = scheduler.last_step = iteration - 1
            scheduler.step()
        (found,) = [one for one in self.optimizer.optimizer.param_groups if one["name"] == group]
        return found[key]


@pytest.mark.parametrize("group", ["weight", "norm", "bias"])
@pytest.mark.parametrize(
    ("iteration", "lr"),
    [
        (0, 0.0),
        (462, 0.00332613),  # the released logs
        (1388, 0.01 * (1 - 0.99 * 2 / 600) * 1388 / 1389),
        (1389, 0.01 * (1 - 0.99 * 3 / 600)),
        (EPOCH * 300, 0.01 * 0.505),
        (END, 0.0001165),  # the released logs
    ],
)
def test_the_learning_rate(schedule: Config, iteration: int, lr: float, group: str) -> None:
    assert Values(schedule).at(iteration, group=group) == pytest.approx(lr, rel=2e-6)


@pytest.mark.parametrize(
    ("iteration", "lr"),
    [
        (0, 0.1),
        (462, 0.1 + (0.01 - 0.1) * 462 / 1389),
        (1389, 0.01 * (1 - 0.99 * 3 / 600)),
        (END, 0.0001165),
    ],
)
def test_biases_may_start_elsewhere(schedule: Config, iteration: int, lr: float) -> None:
    values = Values(schedule, bias_start=0.1)
    assert values.at(iteration, group="bias") == pytest.approx(lr)
    assert values.at(462) == pytest.approx(0.00332613, rel=2e-6)


@pytest.mark.parametrize(
    ("iteration", "momentum"),
    [(0, 0.8), (462, 0.8 + 0.137 * 462 / 1389), (1389, 0.937), (END, 0.937)],
)
def test_the_momentum(schedule: Config, iteration: int, momentum: float) -> None:
    assert Values(schedule).at(iteration, "momentum") == pytest.approx(momentum)


def test_a_shorter_training_has_the_same_shape(schedule: Config) -> None:
    values = Values(schedule, epochs=30)
    assert values.at(EPOCH * 15) == pytest.approx(0.01 * 0.505)
    assert values.at(EPOCH * 30 - 1) == pytest.approx(0.01 * (1 - 0.99 * 29 / 30))


@pytest.mark.parametrize("iteration", [462, 1389, END])
def test_the_average_keeps_the_share_of_the_ramp(schedule: Config, iteration: int) -> None:
    settings = schedule.default_hooks.ema.to_dict()
    assert settings.pop("type") == "EMAHook"
    source = nn.BatchNorm1d(1)
    average = MODELS.build(
        {"type": settings.pop("ema_type"), **settings}, default_args={"model": source}
    )
    average.steps.fill_(iteration - 1)  # it is the iteration-th update
    for value in (average.module.weight, average.module.running_mean):
        value.data.fill_(1.0)
    source.weight.data.fill_(0.0)
    average.update_parameters(source)
    share = 0.9999 * (1 - math.exp(-iteration / 2000))
    assert average.module.weight.item() == pytest.approx(share)
    assert average.module.running_mean.item() == pytest.approx(share)


class Recorder(Hook):
    """Keeps what an optimiser steps with."""

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self.rows: list[tuple] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.rows += [
            (runner.iter, *(group[key] for key in ("name", "lr", "momentum", "weight_decay")))
            for group in runner.optim_wrapper.optimizer.param_groups
        ]


def train(schedule: Config, folder: Path, epochs: int, resume: bool = False, **options: Any):
    recorder = Recorder()
    hooks = {name: schedule.default_hooks[name].to_dict() for name in ("weight_decay", "ema")}
    runner: Any = toy_runner(
        folder,
        optim_wrapper={**schedule.optim_wrapper.to_dict(), **options},
        param_scheduler=[one.to_dict() for one in schedule.param_scheduler],
        train_cfg={"by_epoch": True, "max_epochs": epochs},
        custom_hooks=[*hooks.values(), recorder],
        resume=resume,
    )
    runner.train()
    return recorder.rows, runner


def test_a_real_training_follows_the_curves(schedule: Config, tmp_path: Path) -> None:
    rows, runner = train(schedule, tmp_path, 6)
    length, batch = len(runner.train_dataloader), runner.train_dataloader.batch_size
    assert len(rows) == 3 * 6 * length
    for iteration, name, lr, momentum, decay in rows:
        fallen = 0.01 * (1 - 0.99 * (iteration // length) / 6)
        rising = min(iteration / (3 * length), 1)
        assert lr == pytest.approx(fallen * rising)
        assert momentum == pytest.approx(0.8 + 0.137 * rising)
        assert decay == pytest.approx(0.0005 * batch / 64 if name == "weight" else 0)


def test_a_resumed_training_goes_on_alike(schedule: Config, tmp_path: Path) -> None:
    straight, one = train(schedule, tmp_path / "straight", 5)
    (tmp_path / "resumed").mkdir()
    for name in ("epoch_2.pth", "last_checkpoint"):
        content = (tmp_path / "straight" / name).read_bytes()
        (tmp_path / "resumed" / name).write_bytes(content)
    last = tmp_path / "resumed/last_checkpoint"
    last.write_text(str(tmp_path / "resumed/epoch_2.pth"))
    resumed, other = train(schedule, tmp_path / "resumed", 5, resume=True)
    assert resumed == [row for row in straight if row[0] >= 2 * len(one.train_dataloader)]
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name])


@pytest.mark.filterwarnings("ignore:Detected call of")  # mmengine, of the first small batch
def test_accumulated_batches_count_for_the_decay(schedule: Config, tmp_path: Path) -> None:
    rows, runner = train(schedule, tmp_path, 1, accumulative_counts=4)
    batch = runner.train_dataloader.batch_size
    assert {row[4] for row in rows if row[1] == "weight"} == {0.0005 * batch * 4 / 64}


def test_the_config_passes_the_preflight(schedule: Config) -> None:
    cfg = deepcopy(schedule)  # Config.copy shares its sections
    cfg.default_scope = "mmdet"
    cfg.model = {"type": "RetinaNet"}
    data = {"type": "CocoDataset", "pipeline": [{"type": "LoadImageFromFile"}]}
    cfg.train_dataloader = {"batch_size": 2, "num_workers": 0, "dataset": data}
    check_config(cfg, ["train"])
    cfg.optim_wrapper.constructor = "mmattn.GroupedOptimWraperConstructor"
    with pytest.raises(Exception, match=r"Did you mean 'mmattn.GroupedOptimWrapperConstructor'"):
        check_config(cfg, ["train"])
    cfg.param_scheduler[0]["warmpu"] = 3
    with pytest.raises(Exception, match=r"warmpu.*Did you mean 'warmup'"):
        check_config(cfg, ["train"])


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by_epoch": True}, "convert_to_iter_based=True"),
        ({"begin": 2}, "starts at 0, not at begin=2"),
        ({"warmup": -1}, "warmup=-1"),
        ({"param_name": "momentun"}, "no 'momentun'.*Did you mean 'momentum'"),
        ({"bias_start": 0.1}, "GroupedOptimWrapperConstructor"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    settings = {"param_name": "lr", "warmup": 3, "by_epoch": False, "end": 9, **arguments}
    with pytest.raises(ValueError, match=message):
        LinearWithWarmup(optimizer(), **settings)


def test_iterations_cannot_be_converted_from_epochs() -> None:
    with pytest.raises(ValueError, match="by_epoch=False"):
        LinearWithWarmup.build_iter_from_epoch(
            optimizer(), "lr", epoch_length=4, warmup=1, by_epoch=False
        )
