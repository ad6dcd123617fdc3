"""A training of a few milliseconds per epoch through the standard Runner."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

_runs = itertools.count()


class ToyModel(BaseModel):
    """A small net with convolution and BatchNorm, so that buffers take part too.

    Args:
        ballast: Numbers to carry along unused, for a checkpoint that takes a while to write.
        init_cfg: As for any mmengine module.
    """

    def __init__(self, ballast: int = 0, init_cfg: dict | None = None):
        super().__init__(init_cfg=init_cfg)
        self.backbone = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Linear(4, 1)
        if ballast:
            self.register_buffer("ballast", torch.zeros(ballast))

    def forward(self, inputs: torch.Tensor, target: torch.Tensor, mode: str = "tensor", **_):
        """Loss and prediction for ``inputs`` (N, 1, H, W) and ``target`` (N,)."""
        predicted = self.head(self.backbone(inputs).relu().mean(dim=(2, 3)))[:, 0]
        error = (predicted - target).square()
        if mode == "loss":
            return {"loss": error.mean()}
        return predicted if mode == "tensor" else list(error)


class ToyDataset(BaseDataset):
    """Eight images of noise and their means; the same ones in every process."""

    METAINFO = {"classes": ("noise",), "palette": [(0, 0, 0)]}

    def load_data_list(self) -> list[dict]:
        images = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        return [{"inputs": image, "target": image.mean()} for image in images]


class ToyMetric(BaseMetric):
    """Minus the mean squared error, as a numpy number as metrics usually give."""

    default_prefix = "toy"

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [float(error) for error in data_samples]

    def compute_metrics(self, results: list) -> dict:
        return {"score": -torch.tensor(results).double().mean().numpy()[()]}


def toy_runner(work_dir: Path | str, *, plain: bool = False, **overrides: Any) -> Runner:
    """A standard Runner for the toy; ``overrides`` replace arguments of ``Runner``.

    ``checkpoint``, one of the overrides, replaces arguments of the checkpoint hook, which is
    mmengine's, not mmattn's, for a ``plain`` training.
    """
    if plain:
        from mmengine.hooks import CheckpointHook
    else:
        from mmattn.engine.hooks.checkpoint import CheckpointHook

    checkpoint = {"type": CheckpointHook, "interval": 1, **overrides.pop("checkpoint", {})}
    arguments = {
        "model": _seeded_model(),
        "train_dataloader": _loader(shuffle=True),
        "train_cfg": {"by_epoch": True, "max_epochs": 2},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9}},
        "param_scheduler": {"type": "MultiStepLR", "milestones": [4]},
        "default_hooks": {"checkpoint": checkpoint},
        "randomness": {"seed": 0},
        "default_scope": "mmengine",
        "log_level": "WARNING",
        # mmengine keeps one message hub per name for the life of the process.
        "experiment_name": f"toy_{next(_runs)}",
    }
    return Runner(work_dir=str(work_dir), **{**arguments, **overrides})


def _seeded_model() -> ToyModel:
    # The Runner seeds the generators too late: a model that is passed ready-made exists by then.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ToyModel()


def with_validation() -> dict[str, Any]:
    """Overrides of ``toy_runner`` that validate after every epoch."""
    return {
        "val_dataloader": _loader(shuffle=False),
        "val_cfg": {},
        "val_evaluator": {"type": ToyMetric},
    }


def full_training(max_epochs: int) -> dict[str, Any]:
    """Overrides of ``toy_runner`` that use all that a checkpoint stores."""
    return {
        **with_validation(),
        "checkpoint": {"save_best": "toy/score", "rule": "greater", "max_keep_ckpts": 3},
        "custom_hooks": [{"type": "EMAHook", "momentum": 0.1}],
        "train_cfg": {"by_epoch": True, "max_epochs": max_epochs},
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.1, "begin": 0, "end": 3, "by_epoch": False},
            {"type": "MultiStepLR", "milestones": [2, 3], "begin": 0, "end": 4},
            {"type": "OneCycleLR", "eta_max": 0.1, "total_steps": 8, "by_epoch": False},
        ],
        "optim_wrapper": {
            "optimizer": {"type": "AdamW", "lr": 0.01},
            "clip_grad": {"max_norm": 1.0},
        },
    }


def scaled_training(max_epochs: int) -> dict[str, Any]:
    """Overrides of ``toy_runner`` with momentum and a loss scale that grows every third step."""
    return {
        "train_cfg": {"by_epoch": True, "max_epochs": max_epochs},
        "optim_wrapper": {
            "type": "AmpOptimWrapper",
            "dtype": "bfloat16",
            "loss_scale": {"init_scale": 8.0, "growth_interval": 3},
            "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
        },
    }


def scale_losses_on_cpu() -> None:
    """Give mmengine's AmpOptimWrapper, which wants an accelerator, a loss scale of the CPU."""
    from mmengine.optim.optimizer import amp_optimizer_wrapper as amp

    amp.is_cuda_available = lambda: True
    amp.GradScaler = functools.partial(torch.amp.GradScaler, "cpu")


def _loader(shuffle: bool) -> dict[str, Any]:
    return {
        # Serialising eight images would collect the whole process's garbage first.
        "dataset": {"type": ToyDataset, "serialize_data": False},
        "batch_size": 4,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": shuffle},
        "collate_fn": {"type": "default_collate"},
    }
