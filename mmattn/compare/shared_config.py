"""What all variants of a comparison share: same steps, same data, same random numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.data_overrides import set_data_root as set_data_root

from .schedule import original_length, rescaled

if TYPE_CHECKING:
    from mmengine.config import Config

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
#: Checkpoints of a run, and iterations that are not worth one.
_SAVES, _CHEAP = 5, 20


def shared_config(cfg: Config, iterations: int, num_samples: int) -> tuple[Config, list[str]]:
    """A copy of ``cfg`` that trains for ``iterations``, validates once, and can be repeated.

    Args:
        cfg: Any config of mmdet or mmseg.
        iterations: Length of the training.
        num_samples: Length of the training set.

    Returns:
        The config, and remarks on what the config had that has no effect here.
    """
    made = deepcopy(cfg)
    original, epoch = original_length(cfg, num_samples)
    made.train_cfg = {
        "type": "IterBasedTrainLoop",
        "max_iters": iterations,
        "val_interval": iterations,
    }
    if cfg.get("param_scheduler") is not None:
        made.param_scheduler = rescaled(
            cfg.to_dict()["param_scheduler"], iterations, original, epoch
        )
    loader = made.train_dataloader
    loader.pop("num_batch_per_epoch", None)
    loader.sampler = {"type": "mmattn.SeededSampler", "inner": loader.sampler}
    loader.dataset = {"type": "mmattn.SeededDataset", "seed": 0, "dataset": loader.dataset}

    hooks = made.get("default_hooks") or {}
    made.default_hooks = {
        **hooks,
        "checkpoint": {
            "type": "CheckpointHook",
            "by_epoch": False,
            "interval": max(_CHEAP, math.ceil(iterations / _SAVES)),
            "max_keep_ckpts": 1,
        },
        "logger": {
            "type": "LoggerHook",
            "interval": max(1, min(50, iterations // 10)),
            "log_metric_by_epoch": False,
        },
    }
    made.log_processor = {**(cfg.get("log_processor") or {}), "by_epoch": False}
    custom = [hook for hook in made.get("custom_hooks") or [] if "EarlyStopping" not in _kind(hook)]
    made.custom_hooks = [*custom, {"type": "mmattn.SeedPerIterHook"}]
    return made, _remarks(cfg, custom)


def run_config(cfg: Config, seed: int, work_dir: Path, start: Path) -> Config:
    """One run of a variant.

    Args:
        cfg: The variant's config.
        seed: Of initial weights, order, augmentation and dropout.
        work_dir: Of the run; a checkpoint there is resumed.
        start: Initial weights of all that the variants share.
    """
    made = deepcopy(cfg)
    made.work_dir = str(work_dir)
    made.randomness = {**(cfg.get("randomness") or {}), "seed": seed, "diff_rank_seed": False}
    made.train_dataloader.dataset.seed = seed
    made.launcher = "none"
    made.resume = (work_dir / "last_checkpoint").is_file()
    made.load_from = None if made.resume else str(start)
    return made


def _kind(hook: Any) -> str:
    kind = hook.get("type", "") if isinstance(hook, Mapping) else type(hook)
    return kind if isinstance(kind, str) else kind.__name__


def _remarks(cfg: Config, custom: list[Any]) -> list[str]:
    """What of ``cfg`` goes by epochs, which a training by iterations does not have."""
    remarks = []
    for hook in custom:
        keys = (
            [key for key in hook if "epoch" in key and hook[key]] if hasattr(hook, "keys") else []
        )
        if keys:
            remarks.append(
                f"{_kind(hook)} ({', '.join(keys)}) goes by epochs and stays as it begins: the "
                "training here is counted in iterations."
            )
    if any("EarlyStopping" in _kind(hook) for hook in cfg.get("custom_hooks") or []):
        remarks.append("EarlyStoppingHook is left out: all variants train equally long.")
    return remarks
