"""Random numbers inside a model (dropout, sampled points) that follow from seed and iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from mmengine.device import get_device
from mmengine.hooks import Hook

from mmattn.data.generators import seed_generators
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


#: Part of the key, so that no step draws the numbers of a sample.
_STEP = 0x57E9


@HOOKS.register_module()
class SeedPerIterHook(Hook):
    """Seed all global generators before every training step with (seed of the run, iteration).

    A model with one more layer, whose initial weights took random numbers of their own, then draws
    the same dropout masks as the model without it; and a resumed run draws those of a run that was
    never stopped (mmengine's checkpoints hold no state of generators). Processes of one run draw
    different numbers: the rank is a part of the key.
    """

    priority = "VERY_HIGH"  # before hooks that draw numbers themselves

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        seed = seed_generators(runner.seed, runner.iter, runner.rank, _STEP)
        if get_device() != "cpu":  # the CPU's generator has it already
            torch.manual_seed(seed)
