"""Trainings of a toy that draws random numbers wherever it can, to be stopped and resumed."""

from __future__ import annotations

import itertools
import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmattn.data.datasets.multi_image_mix import MultiImageMixDataset
from mmattn.engine.amp import CPUAmpOptimWrapper
from mmattn.engine.stop_signals import StopSignals
from mmattn.engine.train import resume_exactly
from mmattn.errors import Preempted
from tests.support.toy_training import ToyMetric, ToyModel, toy_runner

SIGTERM = 15
#: Length of every training in steps, and of an epoch of 10 images in batches of 3.
STEPS, EPOCH = 12, 4


class DropoutModel(ToyModel):
    """The toy with a dropout and a random shift of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone.append(nn.Dropout2d(0.3))

    def forward(self, inputs: Any, target: Any, mode: str = "tensor", **_: Any):
        if mode == "loss":
            inputs = inputs + 0.1 * torch.randn_like(inputs) + random.random() * np.random.rand()
        return super().forward(inputs, target, mode)


class Draws(BaseTransform):
    """Adds noise of all three generators."""

    def transform(self, results: dict) -> dict:
        noise = torch.rand(1, 6, 6) + float(np.random.rand()) + random.random()
        return {**results, "inputs": results["inputs"] + 0.3 * noise}


class Mixes(BaseTransform):
    """Adds three other images at random shares, as a mosaic does."""

    def get_indexes(self, dataset: Any) -> list[int]:
        return [random.randint(0, len(dataset) - 1) for _ in range(3)]

    def transform(self, results: dict) -> dict:
        inputs = results["inputs"]
        for other in results["mix_results"]:
            inputs = inputs + float(np.random.rand()) * other["inputs"]
        return {**results, "inputs": inputs}


class Pack(BaseTransform):
    """Leaves what the model takes."""

    def transform(self, results: dict) -> dict:
        return {key: results[key] for key in ("inputs", "target")}


_MIXING = [{"type": Mixes}, {"type": Draws}, {"type": Pack}]


class Noise(BaseDataset):
    """Ten images of noise and their means, of two shapes by name and three classes."""

    METAINFO = {"classes": ("a", "b", "c")}

    def __init__(self, augment: bool = True, pack: bool = True, **kwargs: Any) -> None:
        steps = [*([Draws()] if augment else []), *([Pack()] if pack else [])]
        super().__init__(pipeline=steps, serialize_data=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        images = torch.randn(10, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        return [
            {"inputs": image, "target": image.mean(), "width": 1 + n % 3, "height": 2, "cat": n % 3}
            for n, image in enumerate(images)
        ]

    def get_cat_ids(self, idx: int) -> list[int]:
        return [0, 0, 0, 1, 1, 1, 1, 1, 1, 2][idx : idx + 1]


def datasets() -> dict[str, Any]:
    """Functions that make a training set, by their name."""
    return {
        "plain": Noise,
        "mosaic": lambda: MultiImageMixDataset(Noise(pack=False), _MIXING),
        "repeat": lambda: RepeatDataset(Noise(), 2),
        "balanced": lambda: ClassBalancedDataset(Noise(), 0.5),
        "concat": lambda: ConcatDataset([Noise(), Noise(indices=4)]),
        "aspect": Noise,
        "sliced": Noise,
    }


FEATURES: dict[str, dict[str, Any]] = {
    "sgd": {"optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9}}},
    "accumulating": {
        "optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 0.01}, "accumulative_counts": 3},
    },
    "ema": {
        "optim_wrapper": {
            "optimizer": {"type": "AdamW", "lr": 0.01},
            "clip_grad": {"max_norm": 1.0},
        },
        "custom_hooks": [{"type": "EMAHook", "momentum": 0.1}],
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.1, "begin": 0, "end": 5, "by_epoch": False},
            {"type": "CosineAnnealingLR", "begin": 5, "T_max": 7, "by_epoch": False},
        ],
    },
    "bf16": {
        "optim_wrapper": {
            "type": CPUAmpOptimWrapper,
            "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9},
            "accumulative_counts": 2,
        },
        "custom_hooks": [{"type": "EMAHook", "momentum": 0.1}],
    },
}


class StopAt(Hook):
    """A signal during a step, or during the first batch of the validation behind it."""

    priority = "HIGHEST"

    def __init__(self, signals: StopSignals, step: int, in_validation: bool = False) -> None:
        self.signals, self.step, self.in_validation = signals, step, in_validation

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter + 1 == self.step and not self.in_validation:
            self.signals.received = SIGTERM

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter >= self.step and self.in_validation:
            self.signals.received = SIGTERM


_numbers = itertools.count()


def run(
    work_dir: Path,
    *,
    loop: str = "epoch",
    data: str = "plain",
    feature: str = "sgd",
    workers: int = 0,
    persistent: bool = False,
    stop_at: int | None = None,
    in_validation: bool = False,
    resume: bool = False,
    seed: int | None = 0,
    sampler: Any = None,
    exact: bool = True,
    prepare: Any = None,
    real_signals: bool = False,
    **overrides: Any,
) -> str | None:
    """Train; return what the training says when it is stopped, None at its end."""
    loader: dict[str, Any] = {
        "dataset": datasets()[data](),
        "batch_size": 3,
        "num_workers": workers,
        "persistent_workers": persistent,
        "sampler": sampler or {"type": "DefaultSampler", "shuffle": True},
        "collate_fn": {"type": "default_collate"},
    }
    if data == "aspect":
        loader["batch_sampler"] = {"type": "mmdet.AspectRatioBatchSampler"}
        loader["dataset"].full_init()
    if data == "sliced":
        loader["num_batch_per_epoch"] = 2
    by_epoch = loop == "epoch"
    by_epochs = {"by_epoch": True, "max_epochs": STEPS // EPOCH, "val_interval": 1}
    by_steps = {"by_epoch": False, "max_iters": STEPS, "val_interval": 4}
    settings = {
        "model": DropoutModel(),
        "train_dataloader": loader,
        "train_cfg": by_epochs if by_epoch else by_steps,
        "val_dataloader": {
            "dataset": Noise(augment=False),
            "batch_size": 5,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "collate_fn": {"type": "default_collate"},
        },
        "val_cfg": {},
        "val_evaluator": {"type": ToyMetric},
        "param_scheduler": {"type": "MultiStepLR", "milestones": [2, 3]},
        "checkpoint": {
            "by_epoch": by_epoch,
            "interval": 1 if by_epoch else 4,
            "max_keep_ckpts": 1,
            "save_best": "toy/score",
            "rule": "greater",
        },
        "randomness": {"seed": seed},
        "experiment_name": f"resume_{next(_numbers)}",
        **FEATURES[feature],
        **overrides,
    }
    settings["cfg"] = {"exact_resume": exact, **settings.get("cfg", {})}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        settings["model"]._is_init = True
        for parameter in settings["model"].parameters():
            nn.init.normal_(parameter, std=0.3)
    runner = toy_runner(work_dir, resume=resume, **settings)
    signals = StopSignals()
    resume_exactly(runner, signals)
    if stop_at is not None:
        runner.register_hook(StopAt(signals, stop_at, in_validation))
    if prepare is not None:
        prepare(runner)
    try:
        with signals if real_signals else nullcontext():
            runner.train()
    except Preempted as stopped:
        return str(stopped)
    finally:
        end_workers(runner)
    return None


def end_workers(runner: Runner) -> None:
    """End workers at once, which the garbage collector takes seconds for."""
    loop = runner.train_loop
    for part in (loop.dataloader, getattr(loop, "dataloader_iterator", None)):
        iterator = getattr(part, "_iterator", None)
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()


def last_checkpoint(work_dir: Path) -> dict[str, Any]:
    """Return the content of the run's last checkpoint."""
    name = (work_dir / "last_checkpoint").read_text()
    return torch.load(work_dir / name, weights_only=True)


def differences(one: Path, other: Path) -> list[str]:
    """Name all that differs, bit for bit, in the last checkpoints of two runs but for times."""
    first, second = last_checkpoint(one), last_checkpoint(other)
    parts = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers")
    found = [p for p in parts if not equal(first.get(p), second.get(p))]
    for key in ("epoch", "iter", "seed"):
        if first["meta"][key] != second["meta"][key]:
            found.append(key)
    logs = [content["message_hub"]["log_scalars"] for content in (first, second)]
    found += [
        name
        for name in {**logs[0], **logs[1]}
        if "time" not in name and not equal(logs[0].get(name), logs[1].get(name))
    ]
    return found


def equal(one: Any, other: Any) -> bool:
    """Return whether two nested values are equal, NaN with NaN too."""
    if torch.is_tensor(one):
        return torch.is_tensor(other) and torch.equal(one.nan_to_num(-7), other.nan_to_num(-7))
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(equal(one[key], other[key]) for key in one)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other
