"""Settings that all variants of a comparison share: steps, data and random numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.type_names import bare_name

from .schedule import original_length, rescaled

if TYPE_CHECKING:
    from mmengine.config import Config

#: Checkpoints of a run, and iterations that are not worth one.
_SAVES, _CHEAP = 5, 20


def shared_config(cfg: Config, iterations: int, num_samples: int) -> tuple[Config, list[str]]:
    """Copy ``cfg`` into a config that trains for ``iterations``, validates once, and is repeatable.

    Args:
        cfg: Config for mmdet or mmseg.
        iterations: Length of the training.
        num_samples: Number of samples in the training set.

    Returns:
        New config, and remarks on settings of ``cfg`` that have no effect here.
    """
    shared = deepcopy(cfg)
    original, epoch = original_length(cfg, num_samples)
    shared.train_cfg = {
        "type": "IterBasedTrainLoop",
        "max_iters": iterations,
        "val_interval": iterations,
    }
    if cfg.get("param_scheduler") is not None:
        shared.param_scheduler = rescaled(
            cfg.to_dict()["param_scheduler"], iterations, original, epoch
        )
    loader = shared.train_dataloader
    loader.pop("num_batch_per_epoch", None)
    loader.sampler = {"type": "mmattn.SeededSampler", "inner": loader.sampler}
    loader.dataset = {"type": "mmattn.SeededDataset", "seed": 0, "dataset": loader.dataset}

    hooks = shared.get("default_hooks") or {}
    shared.default_hooks = {
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
    shared.log_processor = {**(cfg.get("log_processor") or {}), "by_epoch": False}
    custom = [
        hook for hook in shared.get("custom_hooks") or [] if "EarlyStopping" not in _type_name(hook)
    ]
    shared.custom_hooks = [*custom, {"type": "mmattn.SeedPerIterHook"}]
    return shared, _remarks(cfg, custom)


def run_config(cfg: Config, seed: int, work_dir: Path, initial_weights: Path) -> Config:
    """Copy ``cfg`` into the config of one run.

    Args:
        cfg: Config of the variant.
        seed: Random seed of initial weights, order, augmentation and dropout.
        work_dir: Folder of the run; a checkpoint there is resumed.
        initial_weights: File with the initial weights of all that the variants share.
    """
    run = deepcopy(cfg)
    run.work_dir = str(work_dir)
    run.randomness = {**(cfg.get("randomness") or {}), "seed": seed, "diff_rank_seed": False}
    run.train_dataloader.dataset.seed = seed
    run.launcher = "none"
    run.resume = (work_dir / "last_checkpoint").is_file()
    run.load_from = None if run.resume else str(initial_weights)
    return run


def _type_name(hook: Any) -> str:
    return bare_name(hook.get("type") if isinstance(hook, Mapping) else type(hook))


def _remarks(cfg: Config, custom: list[Any]) -> list[str]:
    """List the hooks of ``cfg`` that count epochs, which a training by iterations does not have."""
    remarks = []
    for hook in custom:
        keys = (
            [key for key in hook if "epoch" in key and hook[key]] if hasattr(hook, "keys") else []
        )
        if keys:
            remarks.append(
                f"{_type_name(hook)} ({', '.join(keys)}) counts epochs and stays in its first "
                "state: this training counts iterations."
            )
    if any("EarlyStopping" in _type_name(hook) for hook in cfg.get("custom_hooks") or []):
        remarks.append("EarlyStoppingHook is left out, so that all variants train equally long.")
    return remarks
