"""Progress is one live line on a terminal, and silent where there is none."""

from __future__ import annotations

import io
import logging
import sys
from types import SimpleNamespace

from mmengine.logging import MessageHub
from rich.console import Console

from mmattn.engine.hooks.progress import ProgressHook


def runner_at(iteration: int) -> SimpleNamespace:
    hub = MessageHub(f"progress-{iteration}")
    for name, value in {"loss": 1.5, "loss_cls": 1.0, "loss_bbox": 0.5, "lr": 0.01}.items():
        hub.update_scalar(f"train/{name}", value)
    hub.update_scalar("train/time", 0.25)
    hub.update_scalar("train/data_time", 0.05)
    hub.update_info("eta", 3725.0)
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    return SimpleNamespace(
        iter=iteration, max_iters=20, epoch=1, max_epochs=4, train_dataloader=range(5),
        message_hub=hub, logger=logger,
    )  # fmt: skip


def test_the_line_says_where_how_well_and_how_long() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    hook = ProgressHook(console=console)
    runner = runner_at(6)
    hook.before_train(runner)
    hook.after_train_iter(runner, batch_idx=1)
    hook._progress.refresh()  # or wait for the next quarter of a second
    hook.after_train(runner)
    shown = console.file.getvalue()
    for part in (
        "epoch 2/4 [2/5]", "loss 1.5", "loss_cls 1", "lr 0.01", "data 0.05s", "iter 0.25s",
        "left 1:02:05",
    ):  # fmt: skip
        assert part in shown, part
    assert runner.logger.handlers[0].filters == [], "the terminal's log stayed filtered"


def test_nothing_is_drawn_without_a_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    hook = ProgressHook(console=console)
    runner = runner_at(7)
    hook.before_train(runner)
    hook.after_train_iter(runner, batch_idx=1)
    hook.after_train(runner)
    assert console.file.getvalue() == ""


def test_a_path_that_is_printed_stays_in_one_line(capsys) -> None:
    """Narrower than it: the terminal wraps it, and a click opens all of it."""
    path = "work_dirs/a_rather_long_name/of-a_run/best_mIoU_iter_100.pth is [saved]"
    console = Console(file=io.StringIO(), force_terminal=True, width=30)
    hook, runner = ProgressHook(console=console), runner_at(8)
    before = sys.stdout
    hook.before_train(runner)
    hook.after_train_iter(runner, batch_idx=1)
    runner.logger.info("first line\n%s", path)
    print(f"printed: {path}")
    hook.after_train(runner)
    shown = console.file.getvalue()
    assert f"first line\n{path}\n" in shown and f"printed: {path}\n" in shown
    assert sys.stdout is before
    assert runner.logger.handlers[0].stream is not before


def test_a_terminal_that_the_hook_finds_itself(monkeypatch) -> None:
    """Its console writes to the terminal, not to what stands for it meanwhile."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    hook, runner = ProgressHook(), runner_at(9)
    hook.before_train(runner)
    assert sys.stdout is not terminal
    print("a line")
    Console().print("of another console")
    hook.after_train(runner)
    shown = terminal.getvalue()
    assert "a line\n" in shown and "of another console" in shown
    assert sys.stdout is terminal
