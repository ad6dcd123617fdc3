"""A config's training as a number of iterations: the schedule keeps its shape."""

from __future__ import annotations

from pathlib import Path

import mmengine.optim  # noqa: F401  (registers mmengine's schedulers)
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from mmattn.compare.shared_config import shared_config
from mmattn.config import load_config
from mmattn.config.data_overrides import set_data_root
from mmattn.config.schedule import original_length, to_iterations
from mmattn.errors import ConfigError
from tests.support.comparison_configs import FCN, RETINANET


def rates(schedulers: list[dict], steps: int) -> list[float]:
    """The learning rate at each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    built = [PARAM_SCHEDULERS.build({**cfg, "optimizer": optimizer}) for cfg in schedulers]
    result = []
    for _ in range(steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in built:
            scheduler.step()
    return result


def test_a_shorter_run_has_the_same_curve() -> None:
    """Half the steps: at step i the rate that the whole schedule has at step 2 i."""
    whole = [
        {"type": "LinearLR", "start_factor": 0.1, "begin": 0, "end": 20, "by_epoch": False},
        {
            "type": "PolyLR",
            "eta_min": 0.0,
            "power": 0.9,
            "begin": 20,
            "end": 200,
            "by_epoch": False,
        },
    ]
    half = to_iterations(whole, iterations=100, original=200, epoch=50)
    assert [(cfg["begin"], cfg["end"]) for cfg in half] == [(0, 10), (10, 100)]
    long, short = rates(whole, 200), rates(half, 100)
    # Not to the last digit: mmengine's schedulers count from the middle of their first step.
    assert short[15::10] == pytest.approx(long[30::20], abs=0.01)


def test_a_warm_up_in_epochs_keeps_its_share() -> None:
    """3 of 30 epochs of 40 iterations, then 12 of 120 iterations."""
    given = {
        "type": "mmattn.LinearWithWarmup",
        "param_name": "lr",
        "warmup": 3,
        "end_factor": 0.01,
        "convert_to_iter_based": True,
    }
    short = to_iterations([given], iterations=120, original=1200, epoch=40)
    assert short[0]["warmup"] == 12
    curve = rates([{**short[0], "end": 120}], 120)
    assert curve[0] == 0
    assert curve[12] == max(curve) == pytest.approx(1 - 0.99 * 0.1)
    assert curve[119] == pytest.approx(1 - 0.99 * 119 / 120)


def test_epochs_become_iterations() -> None:
    """mmdet's 1x: a warm-up by iterations, drops after epochs 8 and 11 of 12."""
    given = [
        {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 60},
        {
            "type": "MultiStepLR", "begin": 0, "end": 12, "by_epoch": True, "milestones": [8, 11],
            "gamma": 0.1,
        },
    ]  # fmt: skip
    warm_up, drops = to_iterations(given, iterations=600, original=1200, epoch=100)
    assert (warm_up["begin"], warm_up["end"]) == (0, 30)
    assert (drops["by_epoch"], drops["end"], drops["milestones"]) == (False, 600, [400, 550])
    assert given[1]["milestones"] == [8, 11], "the config is left as it is"


def test_by_epoch_is_what_a_scheduler_is_if_it_says_nothing() -> None:
    (result,) = to_iterations(
        [{"type": "CosineAnnealingLR", "T_max": 12, "end": 12}], 600, 1200, 100
    )
    assert (result["T_max"], result["end"], result["by_epoch"]) == (600, 600, False)


def test_exponential_decay_reaches_the_same_rate() -> None:
    given = {"type": "ExponentialLR", "gamma": 0.5, "by_epoch": True}  # 3 epochs of 10: 1/8
    result = to_iterations(given, iterations=60, original=30, epoch=10)
    assert rates([result], 61)[-1] == pytest.approx(0.125)


def test_nothing_is_rounded_away() -> None:
    given = {"type": "LinearLR", "begin": 0, "end": 500, "by_epoch": False}
    assert to_iterations(given, 10, 80_000, 1.0)["end"] == 2
    late = {"type": "PolyLR", "begin": 500, "end": 600, "by_epoch": False}
    assert to_iterations(late, 10, 80_000, 1.0)["end"] == 2


def test_a_warm_up_ends_in_however_short_a_run() -> None:
    """COCO's 1x in 200 iterations: its warm-up would be one of them, and never be left."""
    whole = [
        {"type": "LinearLR", "start_factor": 0.001, "begin": 0, "end": 500, "by_epoch": False},
        {
            "type": "MultiStepLR", "begin": 0, "end": 90_000, "milestones": [60_000, 80_000],
            "gamma": 0.1, "by_epoch": False,
        },
    ]  # fmt: skip
    short = rates(to_iterations(whole, 200, 90_000, 7500), 200)
    assert short[0] == pytest.approx(0.001)
    assert short[1:130] == pytest.approx([1.0] * 129)
    assert short[150] == pytest.approx(0.1)


def test_schedules_of_several_optimisers() -> None:
    given = {"a": [{"type": "StepLR", "step_size": 4, "by_epoch": False}], "b": []}
    assert to_iterations(given, 5, 10, 1.0) == {
        "a": [{"type": "StepLR", "step_size": 2, "by_epoch": False}],
        "b": [],
    }


@pytest.mark.parametrize(
    ("train_cfg", "drop_last", "length"),
    [
        ({"type": "EpochBasedTrainLoop", "max_epochs": 3}, False, (9, 3)),
        ({"type": "EpochBasedTrainLoop", "max_epochs": 3}, True, (6, 2)),
        ({"by_epoch": True, "max_epochs": 3}, False, (9, 3)),
        ({"type": "IterBasedTrainLoop", "max_iters": 50}, False, (50, 3)),
        ({"by_epoch": False, "max_iters": 50}, False, (50, 3)),
    ],
)
def test_the_length_of_a_config(train_cfg: dict, drop_last: bool, length: tuple) -> None:
    loader = {"batch_size": 4, "drop_last": drop_last}
    cfg = Config({"train_cfg": train_cfg, "train_dataloader": loader})
    assert original_length(cfg, num_samples=10) == length


def test_another_loop_is_refused() -> None:
    cfg = Config({"train_cfg": {"type": "MyLoop", "max_iters": 5}, "train_dataloader": {}})
    with pytest.raises(ConfigError, match="loops that can are EpochBased"):
        original_length(cfg, 10)


def test_what_goes_by_epochs_is_remarked() -> None:
    cfg = load_config(
        RETINANET,
        {"custom_hooks": [{"type": "TheirHook", "begin_epoch": 15}]},
    )
    cfg.custom_hooks.append({"type": "EarlyStoppingHook", "monitor": "coco/bbox_mAP"})
    shared, remarks = shared_config(cfg, 20, num_samples=8)
    assert shared.train_cfg == {
        "type": "IterBasedTrainLoop", "max_iters": 20, "val_interval": 20,
    }  # fmt: skip
    type_names = [hook["type"] for hook in shared.custom_hooks]
    assert type_names == ["TheirHook", "mmattn.SeedPerIterHook"]
    assert "TheirHook (begin_epoch) counts epochs" in remarks[0]
    assert "EarlyStoppingHook is left out" in remarks[1]


def test_another_data_root_moves_every_path(tmp_path: Path, shapes: Path) -> None:
    cfg = load_config(RETINANET)
    set_data_root(cfg, str(tmp_path))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == f"{tmp_path}/"
    assert cfg.val_evaluator.ann_file == f"{tmp_path}/annotations/instances_val.json"
    assert str(shapes) not in cfg.pretty_text.partition("train_dataloader")[2]
    bare = load_config(FCN)
    for loader in (bare.train_dataloader, bare.val_dataloader, bare.test_dataloader):
        loader.dataset.pop("data_root")
    with pytest.raises(ConfigError, match=r"no dataset of .*tiny_fcn\.py has a data_root"):
        set_data_root(bare, "there")
