"""One run of one variant: train, validate once at the end, write the result."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from mmattn.config.registry_scope import explain_registry_errors
from mmattn.engine.few_values import explain_few_values
from mmattn.engine.hooks.finite_steps import FiniteStepsHook
from mmattn.engine.runner import build_runner
from mmattn.environment import commit
from mmattn.errors import NumericsError
from mmattn.quiet import output_to

from .files import read_json, write_json
from .fingerprint import SETTINGS, check_settings, fingerprint
from .image_counts import save_counts
from .initial_weights import CheckInitialWeightsHook
from .shared_config import forgetful_parts, resumable_checkpoint, run_config

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

#: Files in a run's folder: its result, what was printed.
RESULT, CONSOLE = "result.json", "console.txt"


def run_variant(
    cfg: Config,
    seed: int,
    work_dir: Path,
    initial_weights: Path,
    progress: Callable[[int, int], None],
    log: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train ``cfg`` and evaluate it, or read the result if that was done before.

    A run that was stopped goes on from its last checkpoint, with the same data and dropout, so that
    it ends with the same result.

    Args:
        cfg: Config of the variant.
        seed: Random seed of the run.
        work_dir: Folder of the run.
        initial_weights: File with the initial weights of what the variants share.
        progress: Function of (iterations done, iterations in all).
        log: Called with one line where the folder holds a run that was stopped.

    Returns:
        Content of ``result.json``: ``metrics``, or ``failure`` if the loss was not finite or the
        evaluation returned nothing.

    Raises:
        ConfigError: ``work_dir`` holds a run with other settings.
    """
    settings = {"fingerprint": fingerprint(cfg), "seed": seed}
    check_settings(work_dir, settings)
    if (work_dir / RESULT).is_file():
        return read_json(work_dir / RESULT)
    if (work_dir / SETTINGS).is_file():
        log(_about_stopped(cfg, work_dir))
    write_json(work_dir / SETTINGS, settings)
    cfg = run_config(cfg, seed, work_dir, initial_weights)
    # mmengine keeps one message hub and one logger per name, named by the second.
    cfg.experiment_name = f"{work_dir.parent.name}_{seed}_{time.time_ns()}"
    monitor = _RunMonitorHook(progress)
    result: dict[str, Any] = {**settings, "commit": commit(), **_software()}
    with output_to(work_dir / CONSOLE):
        runner = build_runner(cfg, splits=("train", "val"))
        runner.register_hook(CheckInitialWeightsHook(initial_weights))
        runner.register_hook(monitor)
        try:
            with explain_registry_errors(cfg.filename), explain_few_values():
                runner.train()
                metrics = monitor.metrics
                if metrics is None:  # stopped between the last checkpoint and the end
                    metrics = runner.val()
        except NumericsError as error:
            result["failure"] = str(error)
        else:
            if not metrics:
                result["failure"] = (
                    "the evaluation returned no metric, as happens when nothing is detected"
                )
        if "failure" not in result:
            result["metrics"] = {key: float(value) for key, value in metrics.items()}
            result |= save_counts(runner.val_loop.evaluator.metrics, work_dir)
        _release(runner)
    result["step_seconds"] = monitor.step_seconds
    write_json(work_dir / RESULT, result)
    return result


def _about_stopped(cfg: Config, work_dir: Path) -> str:
    """Say how the run in a folder goes on, and clear it for one that begins anew."""
    checkpoint = resumable_checkpoint(cfg, work_dir)
    if checkpoint is not None:
        return f"{work_dir}: was stopped, and goes on from {checkpoint.name}"
    reason = "its state is in no checkpoint" if forgetful_parts(cfg) else "it has no checkpoint"
    # Those of the stopped run would be taken for this one's.
    for stale in (work_dir / "last_checkpoint", *work_dir.glob("iter_*.pth")):
        stale.unlink(missing_ok=True)
    return f"{work_dir}: was stopped, and begins anew: {reason}"


def time_steps(
    cfg: Config, seed: int, work_dir: Path, initial_weights: Path, seconds: float
) -> list[float]:
    """Train for about ``seconds`` and return how long each step took, loading included."""
    monitor = _RunMonitorHook(lambda done, total: None, stop_after=seconds)
    cfg = run_config(cfg, seed, work_dir, initial_weights)
    cfg.experiment_name = f"timing_{time.time_ns()}"
    cfg.default_hooks["checkpoint"] = None
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    with output_to(work_dir / CONSOLE):
        runner = build_runner(cfg, splits=("train",))
        runner.register_hook(monitor)
        with explain_registry_errors(cfg.filename), explain_few_values():
            runner.train()
        _release(runner)
    return monitor.step_seconds


def _release(runner: Runner) -> None:
    """Close what still writes into the run's console file: mmengine's loggers live for ever."""
    for handler in list(runner.logger.handlers):
        if type(handler) is logging.StreamHandler:
            runner.logger.removeHandler(handler)
    runner.visualizer.close()


def _software() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__, "threads": str(torch.get_num_threads())}


class _RunMonitorHook(Hook):
    """Report progress, keep times and metrics, and stop at a loss that is not finite."""

    priority = "VERY_LOW"

    def __init__(self, progress: Callable[[int, int], None], stop_after: float = math.inf):
        self.progress = progress
        self.stop_after = stop_after
        self.metrics: Mapping[str, Any] | None = None
        self.step_seconds: list[float] = []
        self._last = 0.0

    def before_train(self, runner: Runner) -> None:
        self._last = time.perf_counter()

    def after_train_iter(self, runner: Runner, batch_idx, data_batch=None, outputs=None) -> None:
        loss = (outputs or {}).get("loss")
        loss = None if loss is None else loss.detach()
        # A guard has ended the run, has left the step out, or will.
        guarded = any(
            isinstance(hook, FiniteStepsHook) and hook.guard is not None for hook in runner.hooks
        )
        if not guarded and loss is not None and not bool(loss.isfinite().all()):
            raise NumericsError(f"the loss of iteration {runner.iter + 1} is {float(loss)}")
        now = time.perf_counter()
        self.step_seconds.append(now - self._last)
        self._last = now
        self.progress(runner.iter + 1, runner.max_iters)
        if sum(self.step_seconds) > self.stop_after:
            runner.train_loop.stop_training = True

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.metrics = metrics
