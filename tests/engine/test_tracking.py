"""Promise: a run says before its first step which trackers log and where; a missing one is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from mmattn.config.optional_packages import missing_packages
from mmattn.config.tracking import TRACKERS, track
from mmattn.engine.tracking import explain_trackers, tracking_rows
from mmattn.errors import ConfigError


def backend(name: str, folder: str = "runs/vis_data", **attributes) -> object:
    return type(name, (), {"_save_dir": folder, **attributes})()


def rows(*backends: object) -> list[str]:
    found = {str(place): one for place, one in enumerate(backends)}
    return tracking_rows(SimpleNamespace(visualizer=SimpleNamespace(_vis_backends=found)))


def test_a_tracker_is_added_once_beside_the_runs_own_files() -> None:
    cfg = track(Config({}), ["wandb", "tensorboard", "wandb"])
    types = [one["type"] for one in cfg.visualizer.vis_backends]
    assert types == ["LocalVisBackend", "WandbVisBackend", "TensorboardVisBackend"]
    own = {"type": "WandbVisBackend", "init_kwargs": {"project": "mine"}}
    cfg = Config({"visualizer": {"type": "SegLocalVisualizer", "vis_backends": [own]}})
    assert track(cfg, ["wandb"]).visualizer.vis_backends == [own]
    assert "visualizer" not in track(Config({}), [])


def test_a_misspelt_tracker_is_answered() -> None:
    with pytest.raises(ConfigError, match=r"--track tensorbord: unknown\. Did you mean 'tensorboa"):
        track(Config({}), ["tensorbord"])


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed_is_told_before_the_training(name, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    monkeypatch.setattr("mmattn.config.optional_packages.find_spec", lambda module: None)
    (need,) = missing_packages(track(Config({"model": {}}), [name]), ("train",))
    assert (need.module, need.part) == (name, f"visualizer.vis_backends[1] ({TRACKERS[name]})")


def test_the_runs_own_files_are_no_tracker() -> None:
    assert rows(backend("LocalVisBackend")) == []


def test_tensorboard_is_said_with_the_line_that_opens_it() -> None:
    (row,) = rows(backend("TensorboardVisBackend"))
    assert row == "TensorBoard logs into runs/vis_data: tensorboard --logdir runs/vis_data"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "logs to the address"),
        ({"WANDB_MODE": "offline"}, "logs offline, by WANDB_MODE=offline, into wandb/run"),
        ({"WANDB_MODE": "disabled"}, "does not log: the environment has WANDB_MODE=disabled"),
        ({"WANDB_DISABLED": "true"}, "does not log: the environment has WANDB_DISABLED"),
    ],
)
def test_wandb_says_where_or_why_not(environment, said, monkeypatch) -> None:
    for key in ("WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    run = SimpleNamespace(url="the address", dir="wandb/run")
    (row,) = rows(backend("WandbVisBackend", experiment=SimpleNamespace(run=run)))
    assert said in row


def test_mlflow_says_server_experiment_and_run() -> None:
    run = SimpleNamespace(info=SimpleNamespace(run_id="abc"))
    flow = SimpleNamespace(active_run=lambda: run, get_tracking_uri=lambda: "file:/runs")
    (row,) = rows(backend("MLflowVisBackend", experiment=flow, _exp_name="Default"))
    assert row == "MLflow logs to file:/runs, experiment Default, run abc"


def test_an_error_of_a_tracker_names_the_config_and_a_way_out() -> None:
    usage_error = type("UsageError", (Exception,), {"__module__": "wandb.errors"})
    with (
        pytest.raises(ConfigError, match=r"my\.py: wandb cannot log: .*no key.*WANDB_MODE=offline"),
        explain_trackers("my.py"),
    ):
        raise usage_error("no key")
    with pytest.raises(KeyError), explain_trackers("my.py"):
        raise KeyError("x")


def test_a_real_tensorboard_gets_the_losses(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from mmengine.visualization import TensorboardVisBackend

    real = TensorboardVisBackend(save_dir=str(tmp_path))
    real.add_scalars({"loss": 1.5, "mIoU": 40.0}, step=3)
    real.close()
    (row,) = rows(real)
    assert row.endswith(f"tensorboard --logdir {tmp_path}")
    assert list(tmp_path.glob("events.out.tfevents*"))
