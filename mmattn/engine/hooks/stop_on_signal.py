"""Stop between two steps when a signal asks for it: save, say where, and end."""

from __future__ import annotations

import signal
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.runner import EpochBasedTrainLoop

from mmattn.engine.distributed import LONGEST_WAIT
from mmattn.engine.stop_signals import InterruptedTraining, StopSignals, name_of
from mmattn.errors import Preempted
from mmattn.io import atomic_write
from mmattn.registry import HOOKS

from .checkpoint import CheckpointHook as OurCheckpointHook

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from mmattn.engine.ranks.progress import Watch


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """Save a checkpoint and end the training when a signal has come.

    The step that runs is finished first. A validation is stopped at its next batch, and is run
    again, from its first image, when the training is resumed. All processes stop at the same step:
    before each one they tell each other whether a signal has come.

    Args:
        signals: Notes the signals; None where they are left alone.
        watch: Told that a checkpoint is saved, which may take longer than a step.

    Raises:
        Preempted: After SIGTERM or SIGUSR1.
        InterruptedTraining: After SIGINT.
    """

    priority = "HIGHEST"  # before hooks that begin a step which is not taken

    def __init__(self, signals: StopSignals | None = None, watch: Watch | None = None) -> None:
        self._signals, self._watch = signals, watch
        self._first = 0
        self._group: Any = None
        self._common = 0

    def before_train(self, runner: Runner) -> None:
        """Act upon signals from now on."""
        if self._signals is not None:
            self._signals.in_training = True
        self._first = runner.iter
        if runner.world_size > 1:
            self._group = _group_of_cpus()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        self._stop_if_asked(runner, between_epochs=batch_idx == 0)

    def before_val(self, runner: Runner) -> None:
        if runner.world_size > 1 and self._in_training:
            # Processes may have different numbers of batches, and all have to ask.
            length = torch.tensor([len(runner.val_dataloader)])
            torch.distributed.all_reduce(
                length, op=torch.distributed.ReduceOp.MIN, group=self._group
            )
            self._common = int(length)
        self._stop_if_asked(runner, between_epochs=True, validation=True)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if runner.world_size > 1 and batch_idx >= self._common:
            return
        number = self._agreed(runner)
        if number:
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):  # which has put the averaged weights into the model
                    hook._swap_ema_parameters()
            self._stop(runner, number, between_epochs=True, validation=True)

    @property
    def _in_training(self) -> bool:
        return self._signals is not None and self._signals.in_training

    def _stop_if_asked(self, runner: Runner, **where: bool) -> None:
        number = self._agreed(runner)
        if number:
            self._stop(runner, number, **where)

    def _agreed(self, runner: Runner) -> int:
        """Return the signal that any process has got; 0 for none."""
        if self._signals is None or not self._signals.in_training:
            return 0
        if runner.world_size == 1:
            return self._signals.received
        flag = torch.tensor([self._signals.received])
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX, group=self._group)
        return int(flag)

    def _stop(
        self, runner: Runner, number: int, *, between_epochs: bool, validation: bool = False
    ) -> None:
        if self._watch is not None:  # others may wait for rank 0, which writes
            self._watch.progress("saving a checkpoint after a signal", limited=False)
        steps = f"step {runner.iter} of {runner.max_iters}"
        if runner.iter == self._first and not validation:
            text = f"{name_of(number)}: stopped at {steps}, before any step was taken"
        else:
            epochs = isinstance(runner.train_loop, EpochBasedTrainLoop) and between_epochs
            path = save_between_steps(
                runner, between_epochs=epochs and runner.epoch > 0, validation=validation
            )
            where = "in the validation behind" if validation else "behind"
            text = f"{name_of(number)}: stopped {where} {steps}; "
            if path is None:
                text += "nothing was saved, because the config has switched checkpoints off"
            else:
                again = "validates again and goes on" if validation else "goes on"
                text += f"saved {path}; the same command with --resume {again}"
        if runner.world_size > 1:
            # A launcher ends all processes as soon as one has ended.
            torch.distributed.barrier(group=self._group)
        raise (InterruptedTraining if number == signal.SIGINT else Preempted)(text)


class ValidateFirstHook(Hook):
    """Run the validation in which the resumed run was stopped, before the first step."""

    priority = "LOWEST"  # when all other hooks are ready

    def __init__(self) -> None:
        self._due = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Look whether the run was stopped in a validation."""
        stopped = (checkpoint.get("meta") or {}).get("stopped") or {}
        self._due = runner._resume and bool(stopped.get("validation"))

    def before_train(self, runner: Runner) -> None:
        """Validate."""
        if self._due and runner.val_loop is not None:
            runner.logger.info("The run was stopped in a validation, which is run again.")
            runner.val_loop.run()
        self._due = False


def save_between_steps(runner: Runner, *, between_epochs: bool, validation: bool) -> str | None:
    """Save a checkpoint to resume from; return its file, None where the run saves none.

    Args:
        runner: Runner of the training, between two steps.
        between_epochs: Whether an epoch has just ended.
        validation: Whether a validation is due.
    """
    note = {"validation": validation}
    hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
    if hook is None:
        return None
    if isinstance(hook, OurCheckpointHook):
        return hook.save_between_steps(runner, between_epochs=between_epochs, note=note)
    name = f"iter_{runner.iter}.pth"
    meta = {"epoch": runner.epoch, "iter": runner.iter, "stopped": note}
    runner.save_checkpoint(runner.work_dir, name, meta=meta)
    if runner.rank == 0:
        with atomic_write(Path(runner.work_dir, "last_checkpoint"), "w") as file:
            file.write(name)
    return str(Path(runner.work_dir, name))


def _group_of_cpus() -> Any:
    """Return a group in which a flag is exchanged without waiting for the devices."""
    if torch.distributed.get_backend() == "gloo":
        return None
    # As long as the others may have to wait for rank 0, which evaluates and saves.
    return torch.distributed.new_group(backend="gloo", timeout=timedelta(seconds=LONGEST_WAIT))
