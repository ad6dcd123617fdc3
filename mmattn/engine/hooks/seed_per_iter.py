"""Random numbers inside a model (dropout, sampled points) that follow from seed and iteration."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmengine.hooks import Hook

from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class SeedPerIterHook(Hook):
    """Seed all global generators before every training step with (seed of the run, iteration).

    A model with one more layer, whose initial weights took random numbers of their own, then draws
    the same dropout masks as the model without it; and a resumed run draws those of a run that was
    never stopped (mmengine's checkpoints hold no state of generators).
    """

    priority = "VERY_HIGH"  # before hooks that draw numbers themselves

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        words = np.random.SeedSequence((runner.seed, runner.iter)).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))
        torch.manual_seed(int(words[2]))
