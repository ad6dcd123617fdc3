"""Measure a checkpoint for a report: on its validation set, as a validation does it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.load import load_config
from mmattn.config.registry_scope import explain_registry_errors
from mmattn.config.resolve import Step as ConfigStep
from mmattn.config.run_settings import set_checkpoint, set_work_dir
from mmattn.engine.console import brief_console
from mmattn.engine.runner import build_runner
from mmattn.environment import collect_env
from mmattn.errors import ConfigError
from mmattn.reports.curves import history_of_run
from mmattn.reports.run import Step

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner


def evaluate_for_report(
    config: str | Path,
    checkpoint: str | Path,
    choose: Callable[[Sequence[Any]], Sequence[Any]],
    *,
    before: Callable[[Runner], None] | None = None,
    after: Callable[[Runner], None] | None = None,
) -> list[Any]:
    """Evaluate a checkpoint on the validation set; nothing is written into the run's folder.

    Args:
        config: Config of the run.
        checkpoint: Weights.
        choose: Function from the metrics of ``val_evaluator`` to those that are reported, which may
            set them up; it raises a ConfigError where there are none.
        before, after: Called with the runner before the evaluation and after it.

    Returns:
        The metrics that were chosen, with the results of the evaluation.

    Raises:
        MMAttnError: Config, data or checkpoint are wrong; the message says how.
    """
    from mmattn.engine.hooks.eval_plots import EvalPlotsHook
    from mmattn.engine.hooks.fuse import FuseHook
    from mmattn.engine.hooks.require_complete_checkpoint import RequireCompleteCheckpointHook

    cfg = load_config(config)
    if not cfg.get("val_dataloader") or not cfg.get("val_evaluator"):
        raise ConfigError(f"{config}: has no val_dataloader and val_evaluator to measure with.")
    cfg = _test_on_validation_set(cfg)
    # The log file in it may be open still.
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with folder as work_dir, brief_console():
        steps_before = [
            ConfigStep("work dir", lambda cfg: set_work_dir(cfg, work_dir)),
            ConfigStep("checkpoint", lambda cfg: set_checkpoint(cfg, str(checkpoint))),
        ]
        runner = build_runner(cfg, splits=("test",), steps=steps_before)
        runner.hooks[:] = [hook for hook in runner.hooks if not isinstance(hook, EvalPlotsHook)]
        runner.register_hook(FuseHook())
        runner.register_hook(RequireCompleteCheckpointHook())
        loop: Any = runner.test_loop
        reported = list(choose(loop.evaluator.metrics))
        with explain_registry_errors(cfg.filename):
            if before is not None:
                before(runner)
            runner.test()
        if after is not None:
            after(runner)
    return reported


def fields_of_run(
    config: str | Path, checkpoint: str | Path, steps: Sequence[Step]
) -> dict[str, Any]:
    """Collect what a report of any task shows of a run: title, curves, time, commands, machine.

    Curves and training time come from the folder of the checkpoint's run.

    Returns:
        Arguments of ``reports.run.Run``.
    """
    return {
        "title": Path(config).stem,
        **history_of_run(Path(checkpoint).parent, load_config(config)),
        "steps": list(steps),
        "environment": collect_env(),
    }


def _test_on_validation_set(cfg: Config) -> Config:
    cfg.test_dataloader = cfg.val_dataloader
    cfg.test_evaluator = cfg.val_evaluator
    several = isinstance(cfg.test_evaluator, (list, tuple))
    for metric in cfg.test_evaluator if several else [cfg.test_evaluator]:
        if not metric.get("format_only"):
            metric.pop("outfile_prefix", None)  # predictions are a test's to write
    cfg.test_cfg = {"type": "TestLoop"}
    cfg.launcher = "none"
    return cfg
