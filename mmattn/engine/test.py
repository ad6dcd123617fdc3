"""Test a checkpoint of any config, as ``mmattn test`` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.config.load import load_config
from mmattn.config.ranks import read_heartbeat
from mmattn.config.registry_scope import explain_registry_errors
from mmattn.config.resolve import Step
from mmattn.config.run_settings import set_checkpoint, set_work_dir

from .console import brief_console
from .manifest_check import ManifestCheck
from .ranks.watch import watch_ranks
from .reported import RunReport, keep_command
from .runner import build_runner
from .test_outputs import dump_metric, show_predictions, write_label_maps
from .tta import use_tta

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner


def test(
    config: str | Path,
    checkpoint: str,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    show: bool = False,
    show_dir: str | None = None,
    wait_time: float = 2.0,
    opacity: float | None = None,
    legend: bool = True,
    tta: bool = False,
    amp: bool = False,
    fuse: bool = True,
    allow_partial: bool = False,
    cfg_options: dict | None = None,
    launcher: str = "none",
    manifest: str | None = None,
    manifest_hashes: bool = False,
    command: str = "",
) -> dict[str, float]:
    """Evaluate ``checkpoint`` on the test split of ``config``.

    Args:
        config: Path or name such as ``mmdet::yolox/…``.
        checkpoint: File of the model's weights.
        work_dir: Folder for the metrics; the config's ``work_dir``, else ``work_dirs/<name>``.
        out: File ``.pkl`` for all predictions or, for semantic and panoptic segmentation, a folder
            of maps.
        show: Show each prediction in a window.
        show_dir: Folder for plots of the predictions.
        wait_time: Seconds per window.
        opacity: Opacity of the colours in these plots, 0 to 1; None for 0.5 in semantic
            segmentation, and for the visualizer's own in detection.
        legend: Whether the names of the classes stand below these plots, in semantic segmentation.
        tta: Average over augmented copies of each image.
        amp: Mixed precision: float16 on a GPU, bfloat16 on a CPU.
        fuse: Test the fused model where the network can be fused (``mmattn.layers.fuse``).
        allow_partial: Accept a checkpoint that lacks weights which inference uses.
        cfg_options: Dotted keys and values that override the config.
        launcher: Launcher of the processes: none, pytorch, slurm or mpi.
        manifest: File by ``mmattn check --splits test --write-manifest``, with which names and
            sizes of the data's files are compared.
        manifest_hashes: Compare their SHA-256 too, for which all of them are read.
        command: Command line that asked for the test; kept beside the log, for its report.

    Returns:
        The metrics.

    Raises:
        MMAttnError: Config, data or checkpoint are wrong; the message says how.
    """
    from .hooks.first_screen import FirstScreenHook

    # The watch first: a process that is refused tells the others.
    with brief_console() as console, watch_ranks(launcher) as watch:
        cfg = load_config(config, cfg_options)
        cfg.launcher = launcher
        watch.heartbeat = read_heartbeat(cfg)
        dump = dump_metric(cfg, out) if out else None
        steps = [
            Step("work dir", lambda cfg: set_work_dir(cfg, work_dir)),
            Step("checkpoint", lambda cfg: set_checkpoint(cfg, checkpoint)),
        ]
        if show or show_dir:
            shown = {"show": show, "show_dir": show_dir, "wait_time": wait_time}
            shown |= {"opacity": opacity, "legend": legend}
            steps.append(Step("--show", lambda cfg: show_predictions(cfg, **shown)))
        if tta:
            steps.append(Step("--tta", use_tta))
        if amp:
            steps.append(Step("--amp", _use_amp))
        if out and dump is None:
            steps.append(Step("--out", lambda cfg: write_label_maps(cfg, out)))
        check = ManifestCheck(manifest, hashes=manifest_hashes)
        report = RunReport(cfg, check)
        runner = build_runner(cfg, ("test",), steps, inspect=report.inspect)
        runner.register_hook(FirstScreenHook(console, manifest=check.told))
        watch.attach(runner)
        with explain_registry_errors(cfg.filename):
            if dump is not None:
                from mmengine.registry import METRICS

                runner.test_loop.evaluator.metrics.append(METRICS.build(dump))
            elif out:
                _name_outputs(runner)
            if fuse:
                from .hooks.fuse import FuseHook

                runner.register_hook(FuseHook())
            if not allow_partial:
                from .hooks.require_complete_checkpoint import RequireCompleteCheckpointHook

                runner.register_hook(RequireCompleteCheckpointHook())
            keep_command(runner, command, launcher)
            with report.of(runner):
                return runner.test()


def _name_outputs(runner: Runner) -> None:
    """Tell metrics that write a file for each image how to call those of images of one name."""
    from mmattn.evaluation.protocols import NamesOutputs

    from .drawn_names import drawn_names

    loop = runner.test_loop
    metrics = [one for one in loop.evaluator.metrics if isinstance(one, NamesOutputs)]
    names = drawn_names(loop.dataloader.dataset) if metrics else {}
    for metric in metrics:
        metric.name_outputs(names)


def _use_amp(cfg: Config) -> Config:
    cfg.test_cfg = {"type": "TestLoop", **(cfg.get("test_cfg") or {}), "fp16": True}
    return cfg
