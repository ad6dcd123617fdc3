"""Settings that all variants of a comparison share: steps, data and random numbers."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.config.schedule import original_length, to_iterations
from mmattn.engine.exactness import FORGETFUL, parts_among

from .epoch_hooks import translate_hooks

if TYPE_CHECKING:
    from mmengine.config import Config

#: Checkpoints of a run, and iterations that are not worth one.
_SAVES, _CHEAP = 5, 20
#: Parts of mmdet that remember something between steps which no checkpoint of a comparison holds.
_FORGETFUL = {**FORGETFUL, "BatchSyncRandomResize": "the present size of the images"}


def shared_config(cfg: Config, iterations: int, num_samples: int) -> tuple[Config, list[str]]:
    """Copy ``cfg`` into a config that trains for ``iterations``, validates once, and is repeatable.

    Args:
        cfg: Config for mmdet or mmseg.
        iterations: Length of the training.
        num_samples: Number of samples in the training set.

    Returns:
        New config, and remarks on settings of ``cfg`` that act otherwise, or have no effect, here.

    Raises:
        ConfigError: The length of the training, or a hook that counts epochs, has no counterpart.
    """
    shared = deepcopy(cfg)
    original, epoch = original_length(cfg, num_samples)
    shared.train_cfg = {
        "type": "IterBasedTrainLoop",
        "max_iters": iterations,
        "val_interval": iterations,
    }
    if cfg.get("param_scheduler") is not None:
        shared.param_scheduler = to_iterations(
            cfg.to_dict()["param_scheduler"], iterations, original, epoch
        )
    hooks = translate_hooks(cfg, epoch * iterations / original)
    loader = shared.train_dataloader
    loader.pop("num_batch_per_epoch", None)
    loader.sampler = {"type": "mmattn.SeededSampler", "inner": loader.sampler}
    loader.dataset = {"type": "mmattn.SeededDataset", "seed": 0, "dataset": loader.dataset}
    if hooks.switches:
        size = samples_per_step(cfg)
        loader.dataset["switches"] = [
            {"sample": switch.pop("iteration") * size, **switch} for switch in hooks.switches
        ]

    shared.default_hooks = {
        **hooks.default,
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
    shared.custom_hooks = [*hooks.custom, {"type": "mmattn.SeedPerIterHook"}]
    remarks = hooks.remarks
    forgetful = forgetful_parts(cfg)
    if forgetful:
        parts = " and ".join(f"{name} ({_FORGETFUL[name]})" for name in forgetful)
        remarks.append(
            f"A run that was stopped begins anew: {parts} is in no checkpoint, so that a resumed "
            "run would see other images."
        )
    return shared, remarks


def run_config(cfg: Config, seed: int, work_dir: Path, initial_weights: Path) -> Config:
    """Copy ``cfg`` into the config of one run.

    Args:
        cfg: Config of the variant.
        seed: Random seed of initial weights, order, augmentation and dropout.
        work_dir: Folder of the run; a checkpoint there is resumed (``resumable_checkpoint``).
        initial_weights: File with the initial weights of all that the variants share.
    """
    run = deepcopy(cfg)
    run.work_dir = str(work_dir)
    run.randomness = {**(cfg.get("randomness") or {}), "seed": seed, "diff_rank_seed": False}
    run.train_dataloader.dataset.seed = seed
    run.launcher = "none"
    checkpoint = resumable_checkpoint(cfg, work_dir)
    run.resume = checkpoint is not None
    run.load_from = str(checkpoint or initial_weights)
    return run


def resumable_checkpoint(cfg: Config, work_dir: Path) -> Path | None:
    """Return the checkpoint that a stopped run goes on from.

    It is the one that ``last_checkpoint`` names. A run that was stopped between a checkpoint and
    that pointer, or whose pointer names a file that is gone, goes on from the newest there is.

    Returns:
        None for a run that begins: there is no checkpoint, or parts of ``cfg`` keep a state that is
        in none.
    """
    if forgetful_parts(cfg):
        return None
    pointer = work_dir / "last_checkpoint"
    if pointer.is_file():
        name = pointer.read_text("utf-8").strip()
        named = [work_dir / name, work_dir / Path(name).name] if name else []
        for path in named:
            if path.is_file():
                return path
    found = [path for path in work_dir.glob("iter_*.pth") if path.stem[5:].isdecimal()]
    return max(found, key=lambda path: int(path.stem[5:]), default=None)


def samples_per_step(cfg: Config) -> int:
    """Return the batch size of the training, which a batch sampler may have instead."""
    loader = cfg.train_dataloader
    return loader.get("batch_size") or (loader.get("batch_sampler") or {}).get("batch_size") or 1


def forgetful_parts(cfg: Config) -> list[str]:
    """List the parts of ``cfg`` whose state is in no checkpoint, so that it can't be resumed."""
    return parts_among(cfg, _FORGETFUL)
