"""Show the progress of a run as one live line: position, losses, learning rate, time left."""

from __future__ import annotations

import atexit
import logging
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from mmattn.engine.above_live_line import AboveLiveLine
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.logging import MessageHub
    from mmengine.runner import Runner
    from rich.console import Console


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show progress in place on a terminal, and leave everything else to mmengine.

    Where standard output is not a terminal (a pipe, a cluster's log) this hook does nothing:
    mmengine's ``LoggerHook`` prints its plain line every ``interval`` iterations. On a terminal
    those lines would scroll the live line away, so they go to the log file only.

    Args:
        max_losses: Number of parts of the loss to show beside the total.
        console: Console to draw on; standard output if it is a terminal.
    """

    priority = "VERY_LOW"  # after the timer and the message hub have been filled

    def __init__(self, max_losses: int = 2, console: Console | None = None) -> None:
        self.max_losses = max_losses
        self._console = console
        self._progress = None
        self._tasks: dict[str, int] = {}
        self._redirected: list[tuple[logging.StreamHandler, object]] = []
        self._streams: dict[str, AboveLiveLine] = {}

    def before_train(self, runner: Runner) -> None:
        self._start(runner, "train", total=runner.max_iters, completed=runner.iter)

    def before_val(self, runner: Runner) -> None:
        self._start(runner, "val", total=len(runner.val_dataloader))

    def before_test(self, runner: Runner) -> None:
        self._start(runner, "test", total=len(runner.test_dataloader))

    def after_train_iter(self, runner: Runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._progress is not None:
            self._update("train", runner.iter + 1, self._training_line(runner, batch_idx))

    def after_val_iter(self, runner: Runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._progress is not None:
            self._update("val", batch_idx + 1, _evaluation_line(runner.message_hub, "val"))

    def after_test_iter(self, runner: Runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self._progress is not None:
            self._update("test", batch_idx + 1, _evaluation_line(runner.message_hub, "test"))

    def after_train(self, runner: Runner) -> None:
        self._end("train")

    def after_val(self, runner: Runner) -> None:
        self._end("val")

    def after_test(self, runner: Runner) -> None:
        self._end("test")

    def _training_line(self, runner: Runner, batch_idx: int) -> str:
        hub = runner.message_hub
        scalars = {
            key.removeprefix("train/"): buffer.current()
            for key, buffer in hub.log_scalars.items()
            if key.startswith("train/")
        }
        if runner.max_epochs > 1:  # a loop by iterations calls itself one epoch
            batches = len(runner.train_dataloader)
            where = f"epoch {runner.epoch + 1}/{runner.max_epochs} [{batch_idx + 1}/{batches}]"
        else:
            where = f"iter {runner.iter + 1}/{runner.max_iters}"
        # What matters least comes last: a narrow terminal cuts the line.
        parts = [where, *_left(hub)]
        losses = [name for name in scalars if "loss" in name and name != "loss"]
        # A single part would only repeat the total.
        shown = losses[: self.max_losses] if len(losses) > 1 else []
        parts += [f"{name} {scalars[name]:.4g}" for name in ("loss", *shown) if name in scalars]
        parts += [f"lr {scalars['lr']:.3g}"] if "lr" in scalars else []
        return "  ".join([*parts, *_times(hub, "train")])

    def _start(self, runner: Runner, phase: str, *, total: int, completed: int = 0) -> None:
        if self._progress is None and not self._open(runner):
            return
        self._tasks[phase] = self._progress.add_task(
            phase, total=total, completed=completed, line=""
        )

    def _open(self, runner: Runner) -> bool:
        """Start drawing, if there is a terminal to draw on."""
        if not is_main_process() or not (self._console or sys.stdout.isatty()):
            return False
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = self._console or Console(file=sys.stdout)  # not what will stand for it
        if not console.is_terminal:
            return False
        self._progress = Progress(
            TextColumn("[bold]{task.description:5}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[line]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._progress.start()
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if console is self._console or stream.isatty():  # a file gets what it always gets
                self._streams[name] = AboveLiveLine(console, stream)
                setattr(sys, name, self._streams[name])
        # A run that raises never reaches after_train, and would leave the cursor hidden.
        atexit.register(self._close)
        for handler in runner.logger.handlers:
            if type(handler) is logging.StreamHandler:
                # What goes through the stand-in for stdout is printed above the live line.
                self._redirected.append((handler, handler.setStream(sys.stdout)))
                handler.addFilter(_not_per_iteration)
        return True

    def _update(self, phase: str, completed: int, line: str) -> None:
        self._progress.update(self._tasks[phase], completed=completed, line=line)

    def _end(self, phase: str) -> None:
        if self._progress is None:
            return
        self._progress.remove_task(self._tasks.pop(phase))
        if not self._tasks:
            self._close()

    def _close(self) -> None:
        if self._progress is None:
            return
        for name, stand_in in self._streams.items():
            stand_in.flush()
            if getattr(sys, name) is stand_in:
                setattr(sys, name, stand_in.stream)
        self._streams.clear()
        self._progress.stop()
        self._progress = None
        self._tasks.clear()
        for handler, stream in self._redirected:
            handler.removeFilter(_not_per_iteration)
            if stream is not None:
                handler.setStream(stream)
        self._redirected.clear()
        atexit.unregister(self._close)


def _evaluation_line(hub: MessageHub, mode: str) -> str:
    return "  ".join([*_left(hub), *_times(hub, mode)])


def _left(hub: MessageHub) -> list[str]:
    if "eta" not in hub.runtime_info:
        return []
    return [f"left {timedelta(seconds=int(hub.get_info('eta')))}"]


def _times(hub: MessageHub, mode: str) -> list[str]:
    """Return the seconds of the last iteration, and of the loading in it."""
    keys = (("data", f"{mode}/data_time"), ("iter", f"{mode}/time"))
    return [
        f"{name} {hub.get_scalar(key).current():.2f}s"
        for name, key in keys
        if key in hub.log_scalars
    ]


def _not_per_iteration(record: logging.LogRecord) -> bool:
    return not (record.module == "logger_hook" and record.funcName.endswith("_iter"))
