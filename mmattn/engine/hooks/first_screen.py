"""Show what a run is about before its first step: data, model, schedule, where things go."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from mmengine.dist import master_only
from mmengine.hooks import Hook

from mmattn.engine.first_screen import test_screen, training_screen
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from mmattn.engine.console import BriefConsole


@HOOKS.register_module()
class FirstScreenHook(Hook):
    """Print a summary of the run, at most 25 lines, and let the terminal show what follows.

    Args:
        console: Filter of the terminal, which hides what mmengine logs until here; None where
            nothing is hidden.
        manifest: What a comparison of the data with a manifest has found; empty where there was
            none.
    """

    # Before hooks that draw on the terminal or log about themselves.
    priority = "HIGHEST"

    def __init__(self, console: BriefConsole | None = None, manifest: str = "") -> None:
        self._console, self._manifest = console, manifest

    def before_train(self, runner: Runner) -> None:
        hidden = self._console.hide_rest() if self._console is not None else 0
        self._show(training_screen(runner, self._manifest, hidden))

    def before_train_epoch(self, runner: Runner) -> None:
        self._end_setup()

    def before_val_epoch(self, runner: Runner) -> None:
        self._end_setup()  # a validation that a resumed run begins with

    def before_test(self, runner: Runner) -> None:
        self._show(test_screen(runner, self._manifest))

    def before_test_epoch(self, runner: Runner) -> None:
        self._end_setup()

    def _show(self, lines: list[str]) -> None:
        _print(lines)
        if self._console is not None:
            self._console.write_to_file("\n".join(["", *lines]))

    def _end_setup(self) -> None:
        if self._console is not None:
            self._console.first_step()


@master_only
def _print(lines: list[str]) -> None:
    sys.stdout.write("\n".join([*lines, "", ""]))
    sys.stdout.flush()
