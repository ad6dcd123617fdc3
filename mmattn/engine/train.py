"""Train any config of mmdet, mmseg or mmattn, as ``mmattn train`` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.config.load import load_config
from mmattn.config.registry_scope import explain_registry_errors
from mmattn.config.resolve import Step
from mmattn.config.run_settings import scale_learning_rate, set_resume, set_work_dir, use_amp
from mmattn.errors import is_interrupt

from .console import brief_console
from .ranks.watch import watch_ranks
from .resume import cost_of_interruption, require_same_model
from .runner import build_runner

if TYPE_CHECKING:
    from mmengine.runner import Runner


def train(
    config: str | Path,
    *,
    work_dir: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    resume: str | None = None,
    cfg_options: dict | None = None,
    launcher: str = "none",
) -> Runner:
    """Train the model of ``config``.

    Args:
        config: Path or name such as ``mmseg::fcn/…``.
        work_dir: Folder of the run; the config's ``work_dir``, else ``work_dirs/<name>``.
        amp: Train in mixed precision.
        auto_scale_lr: Scale the learning rate with the batch size, as ``auto_scale_lr`` says.
        resume: Checkpoint to resume from, or ``"auto"`` for the newest in the run's folder.
        cfg_options: Dotted keys and values that override the config.
        launcher: Launcher of the processes: none, pytorch, slurm or mpi.

    Returns:
        The runner, its training done.

    Raises:
        MMAttnError: Config, data or checkpoint are wrong; raised before the first step where that
            can be known.
        KeyboardInterrupt: With a text that says how many steps are lost and how to go on.
    """
    from .hooks.first_screen import FirstScreenHook

    runner = None
    try:
        with brief_console() as console:
            cfg = load_config(config, cfg_options)
            cfg.launcher = launcher
            steps = training_steps(work_dir, amp=amp, auto_scale_lr=auto_scale_lr, resume=resume)
            with watch_ranks(cfg) as watch:
                runner = build_runner(cfg, splits=("train", "val"), steps=steps)
                runner.register_hook(FirstScreenHook(console))
                watch.attach(runner)
                if resume is not None or runner._resume:
                    require_same_model(runner)
                # Datasets, schedulers and the optimiser are built only now.
                with explain_registry_errors(cfg.filename):
                    runner.train()
    except (KeyboardInterrupt, SyntaxError) as error:
        if not is_interrupt(error):
            raise
        raise KeyboardInterrupt(cost_of_interruption(runner)) from error
    return runner


def training_steps(
    work_dir: str | None, *, amp: bool, auto_scale_lr: bool, resume: str | None
) -> list[Step]:
    """Return the steps that the options of a training stand for; see ``train``."""
    steps = [Step("work dir", lambda cfg: set_work_dir(cfg, work_dir))]
    if amp:
        steps.append(Step("--amp", use_amp))
    if auto_scale_lr:
        steps.append(Step("--auto-scale-lr", scale_learning_rate))
    if resume is not None:
        steps.append(Step("--resume", lambda cfg: set_resume(cfg, resume)))
    return steps
