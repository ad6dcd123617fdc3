"""A hook for tests: every process writes its own losses, validated and final weights."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class RankRecorder(Hook):
    """Saves ``rank<N>.pth`` into the folder that the variable RANK_RECORDS names."""

    def before_train(self, runner) -> None:
        self.losses, self.images = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append(float(outputs["loss"]))
        self.images.append([Path(s.img_path).name for s in data_batch["data_samples"]])

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.validated = deepcopy(_model(runner).state_dict())

    def after_train(self, runner) -> None:
        content = {
            "losses": self.losses,
            "images": self.images,
            "weights": _model(runner).state_dict(),
            "validated": self.validated,
            "wrapper": type(runner.model).__name__,
        }
        torch.save(content, Path(os.environ["RANK_RECORDS"]) / f"rank{get_rank()}.pth")


def _model(runner) -> torch.nn.Module:
    return getattr(runner.model, "module", runner.model)
