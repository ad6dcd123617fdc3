"""One run of one variant: train, validate once at the end, write down what came out."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.hooks import Hook

from mmattn.config.registry_scope import explain_registry_errors
from mmattn.engine.runner import build_runner
from mmattn.environment import commit
from mmattn.errors import ConfigError, NumericsError
from mmattn.evaluation.protocols import HasAreas
from mmattn.io import atomic_write
from mmattn.preflight.config_keys import READ_KEYS
from mmattn.quiet import output_to

from .initial_weights import CheckInitialWeightsHook
from .shared_config import run_config

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

#: What a run's folder holds beside mmengine's files.
RESULT, AREAS, SETTINGS, CONSOLE = "result.json", "areas.npz", "settings.json", "console.txt"


def run_variant(
    cfg: Config, seed: int, work_dir: Path, start: Path, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Train ``cfg`` and evaluate it, or read the result if that was done before.

    A run that was stopped goes on from its last checkpoint; its data, dropout and so its result
    are what they would have been.

    Args:
        cfg: The variant's config.
        seed: Of the run.
        work_dir: Of the run.
        start: Initial weights of what the variants share.
        progress: Called with (iterations done, iterations in all).

    Returns:
        The content of ``result.json``: ``metrics``, or ``failure`` if the loss was not finite or
        the evaluation gave nothing.

    Raises:
        ConfigError: The folder holds a run with other settings.
    """
    settings = {"fingerprint": fingerprint(cfg), "seed": seed}
    check_settings(work_dir, settings)
    if (work_dir / RESULT).is_file():
        return json.loads((work_dir / RESULT).read_text(encoding="utf-8"))
    write_json(work_dir / SETTINGS, settings)
    cfg = run_config(cfg, seed, work_dir, start)
    # mmengine keeps one message hub and one logger per name, named by the second.
    cfg.experiment_name = f"{work_dir.parent.name}_{seed}_{time.time_ns()}"
    watcher = _RunMonitorHook(progress)
    result: dict[str, Any] = {**settings, "commit": commit(), **_software()}
    with output_to(work_dir / CONSOLE):
        runner = build_runner(cfg, splits=("train", "val"))
        runner.register_hook(CheckInitialWeightsHook(start))
        runner.register_hook(watcher)
        try:
            with explain_registry_errors(cfg.filename):
                runner.train()
                metrics = watcher.metrics
                if metrics is None:  # stopped between the last checkpoint and the end
                    metrics = runner.val()
        except NumericsError as error:
            result["failure"] = str(error)
        else:
            if not metrics:
                result["failure"] = "its evaluation gave no metric, as where nothing was detected"
        if "failure" not in result:
            result["metrics"] = {key: float(value) for key, value in metrics.items()}
            result["areas"] = _write_areas(runner, work_dir)
        _release(runner)
    result["step_seconds"] = watcher.step_seconds
    write_json(work_dir / RESULT, result)
    return result


def time_steps(cfg: Config, seed: int, work_dir: Path, start: Path, seconds: float) -> list[float]:
    """Train for about ``seconds`` and return how long each step took, loading included."""
    watcher = _RunMonitorHook(lambda done, total: None, stop_after=seconds)
    cfg = run_config(cfg, seed, work_dir, start)
    cfg.experiment_name = f"timing_{time.time_ns()}"
    cfg.default_hooks["checkpoint"] = None
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    with output_to(work_dir / CONSOLE):
        runner = build_runner(cfg, splits=("train",))
        runner.register_hook(watcher)
        with explain_registry_errors(cfg.filename):
            runner.train()
        _release(runner)
    return watcher.step_seconds


def fingerprint(cfg: Config) -> str:
    """Of all that settles the result of a run but its seed."""
    return hashlib.sha256(read_settings(cfg).encode()).hexdigest()[:16]


def read_settings(cfg: Config) -> str:
    """What is read of ``cfg``, one setting a line; variables of its files are not."""
    content = cfg.to_dict()
    chosen = {key: content[key] for key in READ_KEYS & set(content)}
    return json.dumps(chosen, indent=0, sort_keys=True, default=repr)


def check_settings(work_dir: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder whose run was made with other settings.

    Raises:
        ConfigError: It was.
    """
    file = work_dir / SETTINGS
    if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != dict(settings):
        raise ConfigError(
            f"{work_dir} holds a run with other settings. Choose another --work-dir, or delete "
            "that folder to train it anew."
        )


def write_json(path: Path, content: Any) -> None:
    with atomic_write(path, "w") as file:
        file.write(json.dumps(content, indent=1) + "\n")


def _release(runner: Runner) -> None:
    """Let nothing write into the run's console any more: mmengine's loggers live for ever."""
    for handler in list(runner.logger.handlers):
        if type(handler) is logging.StreamHandler:
            runner.logger.removeHandler(handler)
    runner.visualizer.close()


def _write_areas(runner: Runner, work_dir: Path) -> bool:
    """Keep what each image adds to a segmentation metric; a bootstrap draws images from it."""
    for metric in runner.val_loop.evaluator.metrics:
        if isinstance(metric, HasAreas) and metric.areas is not None:
            with atomic_write(work_dir / AREAS) as file:
                np.savez_compressed(file, areas=metric.areas.astype(np.int64))
            return True
    return False


def _software() -> dict[str, str]:
    import torch

    return {"torch": torch.__version__, "threads": str(torch.get_num_threads())}


class _RunMonitorHook(Hook):
    """Reports progress, keeps times and metrics, and stops at a loss that is not finite."""

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
        if loss is not None and not bool(loss.isfinite().all()):
            raise NumericsError(f"the loss of iteration {runner.iter + 1} is {float(loss)}")
        now = time.perf_counter()
        self.step_seconds.append(now - self._last)
        self._last = now
        self.progress(runner.iter + 1, runner.max_iters)
        if sum(self.step_seconds) > self.stop_after:
            runner.train_loop.stop_training = True

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.metrics = metrics
