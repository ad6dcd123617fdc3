"""Train any config of mmdet, mmseg or mmattn, as ``mmattn train`` does."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.config.load import load_config
from mmattn.config.ranks import read_heartbeat
from mmattn.config.registry_scope import explain_registry_errors
from mmattn.config.resolve import Step
from mmattn.config.run_settings import scale_learning_rate, set_resume, set_work_dir, use_amp
from mmattn.config.tracking import track
from mmattn.errors import MMAttnError, Preempted, is_interrupt
from mmattn.io.storage import STORAGE_ERRNOS, storage_error

from .console import brief_console
from .few_values import explain_few_values
from .forget_annotations import ForgetAnnotationsHook
from .manifest_check import ManifestCheck
from .ranks.watch import watch_ranks
from .reported import RunReport, keep_command
from .restarts import resume_after_restart
from .resume import cost_of_interruption, require_same_model
from .resume_schedule import check_resumed_schedule
from .runner import build_runner
from .sharding.checks import shard_model
from .stop_signals import InterruptedTraining, StoppedBySignal, StopSignals, name_of
from .tracking import explain_trackers

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from .ranks.progress import Watch

#: Warnings before the first screen; it says how many more the log has.
_WARNINGS = 4
_STOPPED_EARLY = "{}: stopped before the first step; nothing was to be saved"


def train(
    config: str | Path,
    *,
    work_dir: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    shard: bool = False,
    resume: str | None = None,
    cfg_options: dict | None = None,
    launcher: str = "none",
    command: str = "",
    trackers: Sequence[str] = (),
    manifest: str | None = None,
    manifest_hashes: bool = False,
) -> Runner:
    """Train the model of ``config``.

    Args:
        config: Path or name such as ``mmseg::fcn/…``.
        work_dir: Folder of the run; the config's ``work_dir``, else ``work_dirs/<name>``.
        amp: Train in mixed precision.
        auto_scale_lr: Scale the learning rate with the batch size, as ``auto_scale_lr`` says.
        shard: Share weights, gradients and the optimiser's state out among the processes.
        resume: Checkpoint to resume from, or ``"auto"`` for the newest in the run's folder. Where
            torchrun or SLURM has started the job again, it goes on from the newest of the job.
        cfg_options: Dotted keys and values that override the config.
        launcher: Launcher of the processes: none, pytorch, slurm or mpi.
        command: Command line that asked for the training; kept beside the log, for reports.
        trackers: Where to log besides: ``tensorboard``, ``wandb``, ``mlflow``.
        manifest: File by ``mmattn check --write-manifest``, with which names and sizes of the
            data's files are compared.
        manifest_hashes: Compare their SHA-256 too, for which all of them are read.

    Returns:
        The runner, its training done.

    Raises:
        MMAttnError: Config, data or checkpoint are wrong; raised before the first step where that
            can be known.
        StorageError: A file of the run cannot be written.
        Preempted: SIGTERM or SIGUSR1 came; a checkpoint was saved between two steps.
        KeyboardInterrupt: With a text that says how to go on. After a first Ctrl-C it is
            ``InterruptedTraining``, and a checkpoint was saved; after a second one, steps are lost.
    """
    from .hooks.first_screen import FirstScreenHook

    runner = None
    try:
        # The watch before the config: a process that is refused or stopped tells the others.
        with (
            StopSignals() as signals,
            brief_console(_WARNINGS) as console,
            watch_ranks(launcher, signals) as watch,
        ):
            cfg = load_config(config, cfg_options)
            cfg.launcher = launcher
            track(cfg, trackers)  # before its packages are checked
            watch.heartbeat = read_heartbeat(cfg)
            steps = training_steps(work_dir, amp=amp, auto_scale_lr=auto_scale_lr, resume=resume)
            if shard:
                steps.append(Step("--shard-model", shard_model))
            check = ManifestCheck(manifest, hashes=manifest_hashes)
            report = RunReport(cfg, check)
            with explain_trackers(cfg.filename):
                runner = build_runner(cfg, ("train", "val"), steps, inspect=report.inspect)
            runner.register_hook(FirstScreenHook(console, manifest=check.told))
            runner.register_hook(ForgetAnnotationsHook())
            resume_after_restart(runner)
            watch.attach(runner)
            keep_command(runner, command, launcher)
            resume_exactly(runner, signals, watch)
            if resume is not None or runner._resume:
                require_same_model(runner)
                check_resumed_schedule(runner)
            # Datasets, schedulers and the optimiser are built only now.
            with (
                explain_registry_errors(cfg.filename),
                explain_few_values(),
                report.of(runner),
            ):
                runner.train()
    except InterruptedTraining:
        raise
    except StoppedBySignal as error:
        raise Preempted(_STOPPED_EARLY.format(name_of(signals.received))) from error
    except (KeyboardInterrupt, SyntaxError) as error:
        if isinstance(error, SyntaxError) and signals.received and not signals.in_training:
            # mmengine makes one of whatever comes while it formats a config.
            if signals.received != signal.SIGINT:
                raise Preempted(_STOPPED_EARLY.format(name_of(signals.received))) from error
        elif not is_interrupt(error):
            raise
        raise KeyboardInterrupt(cost_of_interruption(runner)) from error
    except OSError as error:
        # One about another file, such as an image, is not about what the run writes.
        if isinstance(error, MMAttnError) or not _is_of_the_run(error, runner):
            raise
        raise storage_error(error) from error
    return runner


def _is_of_the_run(error: OSError, runner: Runner | None) -> bool:
    """Return whether ``error`` is the disk's, about a file below the run's folder."""
    if error.errno not in STORAGE_ERRNOS or runner is None or error.filename is None:
        return False
    file, folder = Path(os.fsdecode(error.filename)).absolute(), Path(runner.work_dir).absolute()
    return file.is_relative_to(folder)


def resume_exactly(
    runner: Runner, signals: StopSignals | None = None, watch: Watch | None = None
) -> None:
    """Prepare a runner whose training has not begun: positions in the data, seeds, signals.

    ``exact_resume=False`` in its config leaves the seeds out.

    Args:
        runner: Any runner of mmengine.
        signals: Signals that stop the training; None leaves signals alone.
        watch: Told how far the run has come when a signal stops it.
    """
    from .hooks.exact_resume import ExactResumeHook
    from .hooks.seed_per_iter import SeedPerIterHook
    from .hooks.stop_on_signal import StopOnSignalHook, ValidateFirstHook
    from .positioned_loading import load_by_position

    exact = bool(runner.cfg.get("exact_resume", True))
    hook = ExactResumeHook(exact)
    load_by_position(runner, hook)
    runner.register_hook(hook)
    if exact and not any(isinstance(other, SeedPerIterHook) for other in runner.hooks):
        runner.register_hook(SeedPerIterHook())
    runner.register_hook(StopOnSignalHook(signals, watch))
    runner.register_hook(ValidateFirstHook())


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
