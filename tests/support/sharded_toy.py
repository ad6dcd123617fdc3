"""A toy with blocks in its backbone, trained by one process or shared out among several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn

from mmattn.engine.hooks.finite_steps import FiniteStepsHook
from mmattn.engine.sharding.model import FullyShardedModel
from mmattn.engine.sharding.runner import run_sharded
from tests.support.toy_training import _loader, toy_runner, with_validation

STEPS = 4


class Block(nn.Module):
    """A residual block of a layer norm and two layers, for vectors of 8 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``x`` what the layers make of it."""
        return x + self.layers(self.norm(x))


class BlockNet(BaseModel):
    """Predicts a number for an image of 6 x 6 pixels; one layer is frozen, one not always used."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(36, 8), nn.Sequential(Block(), Block()), Block())
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.head = nn.Linear(8, 1)
        self.bright = nn.Linear(8, 1)

    def forward(self, inputs: Tensor, target: Tensor, mode: str = "tensor", **_: Any) -> Any:
        """Return the loss, or all errors, of ``inputs`` (N, 1, 6, 6) and ``target`` (N,)."""
        x = self.frozen(self.backbone(inputs.flatten(1)))
        predicted = self.head(x)[:, 0]
        bright = inputs.mean(dim=(1, 2, 3)) > 0
        if bright.any():
            predicted = predicted + bright * self.bright(x)[:, 0]
        error = (predicted - target).square()
        return {"loss": error.mean()} if mode == "loss" else list(error)


class Recorder(Hook):
    """Keeps the losses of the steps and the scores of the validations."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.scores: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append(float(outputs["loss"].detach()))

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.scores.append(float(metrics["toy/score"]))


class BadLoss(Hook):
    """Makes the third loss of the second process nan."""

    def before_train(self, runner) -> None:
        module = runner.model.module
        parse = module.parse_losses

        def parse_losses(losses: dict) -> Any:
            total, parts = parse(losses)
            bad = runner.rank == 1 and runner.iter == 2
            return (total * float("nan"), parts) if bad else (total, parts)

        module.parse_losses = parse_losses


class BadGradients(Hook):
    """Makes gradients nan, of a loss that is finite."""

    def before_train(self, runner) -> None:
        module = runner.model.module
        parse = module.parse_losses

        def parse_losses(losses: dict) -> Any:
            total, parts = parse(losses)
            return total + (0 * total).sqrt(), parts

        module.parse_losses = parse_losses


class Copy(Hook):
    """Saves what has been loaded as ``copy.pth``, before the first step."""

    priority = "LOWEST"

    def before_train(self, runner) -> None:
        runner.save_checkpoint(runner.work_dir, "copy.pth", by_epoch=False)


def alone(folder: Path, **overrides: Any) -> Runner:
    """Return a runner of one process, with batches of four images."""
    return _runner(folder, 4, **overrides)


def together(folder: Path, **overrides: Any) -> Runner:
    """Return a runner of one of two processes, with batches of two images each."""
    # The class: its name would be looked up among all that mmattn, mmdet and mmseg have.
    cfg = {
        "model_wrapper_cfg": {"type": FullyShardedModel, "min_parameters": 500},
        **overrides.pop("cfg", {}),
    }
    runner = _runner(folder, 2, launcher="pytorch", cfg=cfg, **overrides)
    run_sharded(runner)
    return runner


def _runner(
    folder: Path, images: int, *, hooks: Sequence[Hook] = (), sampler: str = "DefaultSampler",
    **overrides: Any,
) -> Runner:  # fmt: skip
    loader = {**_loader(shuffle=True), "batch_size": images}
    uneven = {"type": "DefaultSampler", "shuffle": False, "round_up": False}
    seven = {**loader["dataset"], "indices": 7}
    settings: dict[str, Any] = {
        **with_validation(),
        "val_dataloader": {**loader, "batch_size": 1, "sampler": uneven, "dataset": seven},
        "train_dataloader": {**loader, "sampler": {"type": sampler, "shuffle": True}},
        "train_cfg": {"by_epoch": True, "max_epochs": STEPS // 2},
        "optim_wrapper": optim_wrapper(),
        "param_scheduler": {"type": "LinearLR", "start_factor": 0.5, "end": 4, "by_epoch": False},
        **overrides,
    }
    with torch.random.fork_rng():
        torch.manual_seed(get_rank())  # the first process's values count
        model = BlockNet()
    guarded = any(isinstance(hook, FiniteStepsHook) for hook in hooks)
    custom = [*hooks] if guarded else [*hooks, FiniteStepsHook()]
    return toy_runner(folder, model=model, custom_hooks=custom, **settings)


def optim_wrapper(**overrides: Any) -> dict[str, Any]:
    """Return an optimiser with settings for single parameters and gradients that are clipped."""
    return {
        "optimizer": {"type": "AdamW", "lr": 0.02, "weight_decay": 0.1},
        "paramwise_cfg": {"norm_decay_mult": 0.0, "custom_keys": {"head": {"lr_mult": 3.0}}},
        "clip_grad": {"max_norm": 0.5},
        **overrides,
    }
