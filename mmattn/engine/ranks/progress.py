"""Tell the watch how far a run has come: what has a limit of time, and what may take as long.

A step has one, the time until the next batch included. The first batch of an epoch may take any
time, as long as something is computed: workers start, and a resumed training may have to pass over
others. Evaluation, checkpoints and all that other hooks do have no limit: rank 0 may take minutes
there while the others wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mmengine.hooks import Hook

if TYPE_CHECKING:
    from mmengine.runner import Runner


class Watch(Protocol):
    """What is told how far a run has come; see ``RankWatch``."""

    def progress(self, what: str, *, limited: bool, timed: bool = True) -> None:
        """Note what begins; ``limited`` if it may hang there, ``timed`` if it may not take long."""
        ...


class BeforeHooks(Hook):
    """Called in front of all other hooks."""

    priority = "VERY_HIGH"

    def __init__(self, watch: Watch):
        self.watch = watch

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        self.watch.progress(f"the hooks behind step {runner.iter + 1}", limited=False)

    def after_train_epoch(self, runner: Runner) -> None:
        self.watch.progress("the end of an epoch", limited=False)

    def before_val(self, runner: Runner) -> None:
        self.watch.progress("the start of a validation", limited=False)

    def before_test(self, runner: Runner) -> None:
        self.watch.progress("the start of a test", limited=False)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        self.watch.progress("the hooks of a validation", limited=False)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        self.watch.progress("the hooks of a test", limited=False)

    def after_train(self, runner: Runner) -> None:
        self.watch.progress("the end of the training", limited=False)


class AfterHooks(Hook):
    """Called behind all other hooks."""

    priority = "LOWEST"

    def __init__(self, watch: Watch):
        self.watch = watch

    def before_train_epoch(self, runner: Runner) -> None:
        self.watch.progress("loading the first batch", limited=True, timed=False)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        self.watch.progress(f"training step {runner.iter + 1}", limited=True)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        last = runner.iter + 1 >= runner.max_iters
        self.watch.progress(f"loading the batch of step {runner.iter + 2}", limited=not last)

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        self.watch.progress(f"validation step {batch_idx + 1}", limited=True)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        self._after_a_batch("validation", batch_idx, len(runner.val_dataloader))

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        self.watch.progress(f"test step {batch_idx + 1}", limited=True)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None):
        self._after_a_batch("test", batch_idx, len(runner.test_dataloader))

    def _after_a_batch(self, what: str, index: int, count: int) -> None:
        if index + 1 >= count:
            self.watch.progress(f"the evaluation of a {what}", limited=False)
        else:
            self.watch.progress(f"loading a batch of the {what}", limited=True)
