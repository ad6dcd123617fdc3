"""What a training says before its first step, when it is stopped, and when it is resumed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from mmattn.config import load_config
from mmattn.config.run_settings import add_default_hooks
from mmattn.data import write_shapes_dataset
from mmattn.engine import train
from mmattn.errors import CheckpointError, ConfigError
from mmattn.registry import HOOKS

#: Options of a training without a validation, by which no checkpoint can be the best.
NO_VALIDATION = {
    "val_dataloader": None,
    "val_cfg": None,
    "val_evaluator": None,
    "default_hooks__checkpoint__save_best": None,
}
CONFIGS = Path(__file__).resolve().parents[1] / "support/configs"


@HOOKS.register_module()
class InterruptAt(Hook):
    """Ctrl-C behind a step."""

    def __init__(self, step: int):
        self.step = step

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.step:
            raise KeyboardInterrupt  # what Python makes of it; a background job gets no signal


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shapes"
    return write_shapes_dataset(root, num_train=4, num_val=2, size=(64, 64), seed=0)


@pytest.fixture(autouse=True)
def environment(shapes: Path, monkeypatch) -> None:
    monkeypatch.setenv("SHAPES_ROOT", str(shapes))
    monkeypatch.setattr(logging, "raiseExceptions", False)
    # Half of a run this short would be spent on formatting its config.
    monkeypatch.setattr(Config, "pretty_text", property(lambda cfg: repr(cfg.to_dict())))


def fit(
    folder: Path,
    config: str = "tiny_fcn",
    resume: str | None = None,
    command: str = "",
    **options,
) -> None:
    options = {key.replace("__", "."): value for key, value in options.items()}
    options["experiment_name"] = f"{folder.parent.name}-{folder.name}-{len(options)}-{resume}"
    path = CONFIGS / f"{config}.py"
    train(path, work_dir=str(folder), resume=resume, cfg_options=options, command=command)


# --- before the first line -----------------------------------------------------------------------


def test_all_that_is_wrong_is_told_before_the_first_log_line(tmp_path: Path, capfd, caplog) -> None:
    with pytest.raises(ConfigError, match="3 settings are wrong") as error:
        fit(tmp_path / "run", train_cfg__max_iter=100, model__decode_haed={"channels": 1},
            train_dataloader__batch_size="four")  # fmt: skip
    for part in ("train_cfg.max_iter", "model.decode_haed", "'decode_head'", "batch_size='four'"):
        assert part in str(error.value)
    assert not caplog.records and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"train_cfg__max_iters": 0},
        {"train_cfg__max_iters": -3},
        {"default_hooks__checkpoint__interval": 0},
        {"optim_wrapper__optimizer__lr": float("nan")},
        {"train_dataloader__batch_size": 0},
    ],
)
def test_a_training_of_nothing_is_refused_before_its_folder_exists(options, tmp_path) -> None:
    with pytest.raises(ConfigError):
        fit(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_set_is_told(tmp_path: Path, caplog) -> None:
    with pytest.raises(ConfigError, match="has only 4 images, and incomplete batches are dropped"):
        fit(tmp_path / "run", config="tiny_retinanet", train_dataloader__batch_size=9,
            train_dataloader__drop_last=True)  # fmt: skip
    with caplog.at_level(logging.WARNING, "mmattn"), pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", train_dataloader__batch_size=9, train_cfg__max_iters=1,
            custom_hooks=[{"type": "mmattn.InterruptAt", "step": 1}])  # fmt: skip
    assert "every batch holds images more than once" in caplog.text


# --- stopped -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "interval", "said"),
    [
        (3, 8, "there is no checkpoint yet, so the 2 steps are lost"),
        (6, 2, r"--resume goes on from .*iter_4\.pth \(step 4\); the 1 steps after it are lost"),
    ],
)
def test_an_interruption_says_what_it_costs(step, interval, said, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=said):
        fit(tmp_path / "run", default_hooks__checkpoint__interval=interval,
            default_hooks__checkpoint__save_best=None, train_cfg__val_interval=100,
            custom_hooks=[{"type": "mmattn.InterruptAt", "step": step}])  # fmt: skip


@pytest.mark.parametrize(
    ("loop", "hook", "expected"),
    [
        ({"type": "IterBasedTrainLoop", "max_iters": 9, "val_interval": 3}, {}, (3, False)),
        ({"type": "EpochBasedTrainLoop", "max_epochs": 9, "val_interval": 2}, {}, (2, True)),
        ({"by_epoch": False, "max_iters": 9, "val_interval": 4}, {"by_epoch": False}, (4, False)),
        ({"type": "IterBasedTrainLoop", "val_interval": 3}, {"interval": 5}, (5, None)),
        ({"type": "IterBasedTrainLoop", "val_interval": 3}, {"interval": -1}, (-1, None)),
        ({"type": "IterBasedTrainLoop", "val_interval": 3}, {"by_epoch": True}, (None, True)),
    ],
)
def test_a_checkpoint_at_each_validation_is_the_default(loop, hook, expected) -> None:
    hooks = {"checkpoint": {"type": "CheckpointHook", **hook}}
    cfg = add_default_hooks(Config({"train_cfg": loop, "default_hooks": hooks, "model": {}}))
    made = cfg.default_hooks.checkpoint
    assert (made.get("interval"), made.get("by_epoch")) == expected


RECIPES = sorted(
    path for path in (CONFIGS.parents[2] / "configs").rglob("*.py") if "_base_" not in path.parts
)


@pytest.mark.slow
def test_every_shipped_recipe_saves_at_its_validations() -> None:
    for path in RECIPES:
        cfg = add_default_hooks(load_config(path))
        loop = cfg.get("train_cfg") or {}
        if loop.get("val_interval"):
            assert cfg.default_hooks.checkpoint.interval <= loop.val_interval, path.name


# --- resumed -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(shapes: Path, tmp_path_factory) -> Path:
    """Of the tiny FCN, behind two steps."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(shapes))
        fit(folder, train_cfg__max_iters=2, **NO_VALIDATION)
    return folder / "iter_2.pth"


@pytest.mark.parametrize(
    "options",
    [
        {"model__decode_head__channels": 12},
        pytest.param({"model__backbone__depth": 34}, marks=pytest.mark.slow),
        pytest.param(
            {"model__backbone__base_channels": 4, "model__decode_head__in_channels": 32},
            marks=pytest.mark.slow,
        ),
        pytest.param({"config": "tiny_retinanet"}, marks=pytest.mark.slow),
        {"model__backbone__base_channels": 4, "model__decode_head__in_channels": 32,
         "custom_hooks": [{"type": "EMAHook"}]},
    ],
    ids=["another head", "deeper", "narrower", "another network", "narrower, with EMA"],
)  # fmt: skip
def test_another_configs_checkpoint_is_refused_in_one_line(
    options: dict, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError) as error:
        fit(tmp_path / "run", resume=str(checkpoint), **options)
    text = str(error.value)
    assert "\n" not in text and str(checkpoint) in text
    assert "none of its" in text or "cannot be resumed from" in text
    if "cannot" in text:
        assert "config of its training" in text and "load_from=FILE" in text


def test_its_own_checkpoint_is_resumed(checkpoint: Path, tmp_path: Path) -> None:
    fit(tmp_path / "run", resume=str(checkpoint), train_cfg__max_iters=3,
        **NO_VALIDATION,
        command="mmattn train 'my config.py' --resume")  # fmt: skip
    assert torch.load(tmp_path / "run/iter_3.pth", weights_only=True)["meta"]["iter"] == 3
    (typed,) = (tmp_path / "run").glob("*/command.txt")
    assert typed.read_text() == "mmattn train 'my config.py' --resume\n"
