"""Upgrade a config of mmdet 2.x or mmseg 0.x as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmattn.config.find import find_config
from mmattn.config.load import read_file
from mmattn.config.outdated import OUTDATED, outdated_keys, outdated_package
from mmattn.config.walk import LOADERS
from mmattn.errors import ConfigError, MMAttnError
from mmattn.preflight.run import check_config

from ..text import config_text
from .data import DataUpgrade
from .model import upgrade_model, with_mask
from .notes import Notes
from .pipelines import PipelineUpgrade
from .training import TrainingUpgrade

#: Keys of an old config that are read here, besides those of ``OUTDATED``.
_READ = {
    *OUTDATED,
    *("model", "train_cfg", "test_cfg", "total_epochs", "total_iters", "fp16", "custom_hooks"),
    *("dist_params", "cudnn_benchmark", "mp_start_method", "opencv_num_threads", "resume_from"),
    *("load_from", "workflow", "log_level", "auto_scale_lr", "find_unused_parameters"),
    *("custom_imports", "work_dir", "seed", "data_root"),
}


@dataclass(frozen=True)
class Upgrade:
    """A config of today that was made of an old one.

    Attributes:
        package: What the old one was of, such as ``mmdet 2.x``.
        settings: The new config.
        left: What could not be translated, one sentence each.
        done: What was left out since nothing has to be said any more.
        problems: What the strict checks find wrong in the new config.
    """

    package: str
    settings: dict[str, Any]
    left: tuple[str, ...]
    done: tuple[str, ...]
    problems: tuple[str, ...]

    def text(self, name: str) -> str:
        """Return the file of the new config, what is left to do on top.

        Args:
            name: Name of the old file.
        """
        notes = [f"Made of {name}, a config of {self.package}, by `mmattn config upgrade`."]
        if self.left or self.problems:
            notes.append("Not translated, look at each:")
            notes += [f"- {line}" for line in (*self.left, *self.problems)]
        if self.done:
            notes.append("Left out:")
            notes += [f"- {line}" for line in self.done]
        return config_text(self.settings, "py", notes) + "\n"


def upgrade(name: str | Path) -> Upgrade:
    """Upgrade the config called ``name``; what it inherits is written out.

    Args:
        name: Path of the old config.

    Raises:
        ConfigError: It cannot be read, or is no config of mmdet 2.x or mmseg 0.x.
    """
    path = find_config(name)
    cfg = read_file(path)
    old = cfg.to_dict()
    if not outdated_keys(old):
        raise ConfigError(
            f"{path}: this is no config of mmdet 2.x or mmseg 0.x: it has none of "
            f"{', '.join(OUTDATED)}, or has today's sections already"
        )
    package = outdated_package(old)
    scope = package.partition(" ")[0]
    notes = Notes()
    settings = _upgraded(old, scope, notes)
    return Upgrade(
        package, settings, tuple(notes.left), tuple(notes.done), tuple(_problems(settings, path))
    )


def _upgraded(old: Mapping[str, Any], scope: str, notes: Notes) -> dict[str, Any]:
    training = TrainingUpgrade(old, scope, notes)
    pipelines = PipelineUpgrade(scope, scope == "mmdet" and with_mask(old), notes)
    data = DataUpgrade(old, pipelines, training.iterations, notes)
    loaders = data.loaders()
    evaluation = dict(old.get("evaluation") or {})
    read = (
        "interval",
        "dynamic_intervals",
        "metric",
        "save_best",
        "pre_eval",
        "by_epoch",
        "type",
        "start",
    )
    notes.rest("evaluation", evaluation, read)
    if "pre_eval" in evaluation:
        why = "predictions are always measured image by image"
        notes.dropped("evaluation.pre_eval", evaluation["pre_eval"], why)
    loops = training.loops()
    if "dynamic_intervals" in evaluation:
        loops["train_cfg"]["dynamic_intervals"] = evaluation["dynamic_intervals"]
    if "start" in evaluation:
        loops["train_cfg"]["val_begin"] = evaluation["start"]
    settings = {
        **training.environment(),
        "model": upgrade_model(old, scope, pipelines.preprocessing, notes),
        **loaders,
        **data.evaluators(evaluation),
        **loops,
        "optim_wrapper": training.optim_wrapper(),
        "param_scheduler": training.schedules(),
        **training.hooks(),
    }
    for loader in LOADERS[1:]:
        if loader not in settings:  # mmengine wants all of a split, or nothing
            split = loader.partition("_")[0]
            settings[f"{split}_cfg"] = settings[f"{split}_evaluator"] = None
    if old.get("momentum_config") is not None:
        why = "momentum is a param_scheduler now"
        notes.untranslated("momentum_config", old["momentum_config"], why)
    variables = [key for key in old if key not in _READ and not key.startswith("_")]
    if variables:
        shown = ", ".join(sorted(variables))
        notes.done.append(f"variables of the file, written out where they were used: {shown}")
    return settings


def _problems(settings: dict[str, Any], path: Path) -> list[str]:
    """Return what the strict checks find in the new config."""
    from mmengine.config import Config

    try:
        check_config(Config(settings), ("train", "val", "test"), whole=True)
    except MMAttnError as error:
        return [line.strip() for line in str(error).splitlines() if line.strip()]
    return []
