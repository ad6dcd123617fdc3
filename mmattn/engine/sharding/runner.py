"""A runner whose model is shared out: ordinary checkpoints, and validations of the whole model.

Checkpoints hold every weight and every state of the optimiser whole, so a sharded training goes on
from an unsharded one's file, and the other way round, by any number of processes.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from .model import FullyShardedModel
from .parts import share_state_out, whole_parameters, whole_state, without_load_hooks

if TYPE_CHECKING:
    from mmengine.runner import Runner


def run_sharded(runner: Runner) -> None:
    """Let ``runner``, if its model is sharded, save, load and validate it whole."""
    model = runner.model
    if not isinstance(model, FullyShardedModel):
        return
    save, load, resume = runner.save_checkpoint, runner.load_checkpoint, runner.resume

    @functools.wraps(save)
    def save_checkpoint(*args: Any, save_optimizer: bool = True, **kwargs: Any) -> None:
        # All processes take part in gathering; mmengine's function is that of the first alone.
        first = runner.rank == 0
        model.share_out()
        with ExitStack() as stack:
            stack.enter_context(whole_parameters(model.module, keep=first))
            if save_optimizer:
                stack.enter_context(whole_state(runner.optim_wrapper.optimizer, keep=first))
            save(*args, save_optimizer=save_optimizer, **kwargs)

    @functools.wraps(load)
    def load_checkpoint(*args: Any, **kwargs: Any) -> Any:
        model.share_out()
        # Modules may rename and reshape what they load, which they cannot do with parts.
        with without_load_hooks(model.module), whole_parameters(model.module, share_out=True):
            checkpoint = load(*args, **kwargs)
        if runner._resume and "optimizer" in checkpoint:
            share_state_out(checkpoint["optimizer"], runner.optim_wrapper.optimizer)
        return checkpoint

    @functools.wraps(resume)
    def resume_from(*args: Any, **kwargs: Any) -> None:
        # A device may be too small for all that a file holds.
        resume(*args, **{"map_location": "cpu", **kwargs})

    runner.save_checkpoint = save_checkpoint  # type: ignore[method-assign]
    runner.load_checkpoint = load_checkpoint  # type: ignore[method-assign]
    runner.resume = resume_from  # type: ignore[method-assign]
    # The model was initialised before it was shared out.
    runner._init_model_weights = lambda: None  # type: ignore[method-assign]
    runner.register_hook(_WholeModelHook())
    _tell(runner, model.blocks)


def _tell(runner: Runner, blocks: list[str]) -> None:
    shared = f"The model is shared out among {runner.world_size} processes"
    if blocks:
        runner.logger.info(
            f"{shared}; {len(blocks)} blocks gather their weights by themselves, from {blocks[0]} "
            f"to {blocks[-1]}, and the rest is gathered for the whole pass."
        )
    else:
        runner.logger.warning(
            f"{shared}, but its backbone has no blocks: all weights are gathered for each pass."
        )


class _WholeModelHook(Hook):
    """Let each process hold the whole model while it validates, and when the training is over."""

    # After hooks that look at the model behind a validation, and before those that save it.
    priority = "LOW"

    def before_val_epoch(self, runner: Runner) -> None:
        """Gather the weights."""
        runner.model.gather()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Let go of them."""
        runner.model.share_out()

    def after_train(self, runner: Runner) -> None:
        """Gather the weights: the first process may look at its model alone, for a report."""
        runner.model.gather()
