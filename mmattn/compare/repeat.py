"""Repeat a comparison from its ``run.lock``, and measure the error rate of a network of one's own.

Both train something other than what a command line of ``compare`` says, so they are commands of
their own (``mmattn compare --replay``, ``mmattn compare CONFIG --error-rate``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError, did_you_mean
from mmattn.io import atomic_write
from mmattn.tables import markdown_table
from mmattn.tasks import task_of

from .alone import alone_in
from .files import read_json
from .host_pairs import write_error_rate
from .image_counts import AREA_METRICS
from .jobs import check_devices, parse_devices
from .lock import PRESET, check_against_lock, deviations, read_lock
from .plan import Comparison, plan_comparison
from .provenance import machine_and_versions
from .run import check, compare, train
from .saved_settings import restore_settings
from .variants import SEED_OFFSET

Log = Callable[[str], None]


def replay(
    lock_file: str,
    *,
    work_dir: str | None = None,
    data_root: str | None = None,
    devices: str | None = None,
    jobs: int | None = None,
    command: str = "",
    log: Log = print,
) -> bool:
    """Train a comparison again, as its lock says, and hold the new table against the old one.

    Args:
        lock_file: Path of ``run.lock``.
        work_dir: Folder of the repetition; by default ``work_dirs/replay_<config>``.
        data_root: Folder of the data, if it lies elsewhere than the lock says.
        devices, jobs: See ``compare``.
        command: Command line, for the report.
        log: Called with each line of progress, and with the table of deviations.

    Returns:
        Whether every row is within its interval.

    Raises:
        MMAttnError: The lock or the data are not what they were.
    """
    lock = read_lock(lock_file)
    name = Path(lock["config_name"].rpartition("::")[2]).stem
    folder = Path(work_dir or f"work_dirs/replay_{name}")
    config = folder / f"{name}.py"
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(config, "w") as file:
        file.write(lock["config"])

    def unchanged(comparison: Comparison) -> None:
        check_against_lock(lock, comparison.work_dir, machine_and_versions(), log)

    compare(
        str(config),
        lock["insert"],
        lock["at"],
        budget=f"{lock['iterations']}it",
        seeds=lock["seeds"],
        controls=lock["controls"],
        match_time=lock["match_time"],
        metric=lock["metric"],
        data_root=data_root,
        work_dir=str(folder),
        devices=devices,
        jobs=jobs,
        preset={key: lock[key] for key in PRESET},
        before_training=unchanged,
        command=command,
        log=log,
    )
    return _report_deviations(lock, read_json(folder / "report.json"), log)


def _report_deviations(lock: Mapping[str, Any], report: Mapping[str, Any], log: Log) -> bool:
    rows = deviations(lock, report)
    table = [
        [row.label, f"{row.before:+.4f}", "-" if row.now is None else f"{row.now:+.4f}",
         f"[{row.interval[0]:+.4f}, {row.interval[1]:+.4f}]", "yes" if row.inside else "NO"]
        for row in rows
    ]  # fmt: skip
    log("")
    log(markdown_table(["variant", "lock", "repeated", "interval of the lock", "inside"], table))
    inside = sum(row.inside for row in rows)
    log(f"{inside} of {len(rows)} rows are within the intervals of the lock")
    return inside == len(rows)


def measure_error_rate(
    config: str,
    *,
    budget: str,
    seeds: int,
    pairs: int,
    hosts: int | None = None,
    metric: str | None = None,
    data_root: str | None = None,
    work_dir: str | None = None,
    out: str | None = None,
    cfg_options: dict | None = None,
    devices: str | None = None,
    jobs: int | None = None,
    report_only: bool = False,
    command: str = "",
    log: Log = print,
) -> Path:
    """Train a network with many seeds, and count how often it is called different from itself.

    Args:
        config: Path of the config, of a segmentor.
        budget: Length of each run.
        seeds: Seeds on each side of a pair.
        pairs: Number of pairs.
        hosts: Number of runs; by default so many that no two pairs share one.
        metric: Metric that is compared; by default mIoU.
        report_only: Take the runs that are finished, and train nothing.
        data_root, work_dir, out, cfg_options, devices, jobs, command, log: See ``compare``.

    Returns:
        Path of the page.

    Raises:
        MMAttnError: The config or the data are unfit, or there are too few runs.
    """
    # What would be found out only when everything is trained.
    if seeds < 2:
        raise ConfigError(f"--seeds {seeds}: a verdict needs at least two seeds on each side.")
    if pairs < 1:
        raise ConfigError(f"--pairs {pairs}: must be at least 1.")
    runs = 2 * seeds * pairs if hosts is None else hosts
    if not 2 * seeds <= runs <= SEED_OFFSET:
        raise ConfigError(
            f"--hosts: {runs} runs, but a pair of {seeds} seeds needs {2 * seeds}, and there are "
            f"at most {SEED_OFFSET}. Give --hosts, with which pairs may share runs."
        )
    metric = metric or "mIoU"
    if metric not in AREA_METRICS:
        raise ConfigError(
            f"--metric {metric}: the error rate is measured from pixel counts, which give "
            f"{', '.join(AREA_METRICS)}.{did_you_mean(metric, AREA_METRICS)}"
        )
    comparison = plan_comparison(
        *(config, "", []),
        budget=budget,
        seeds=runs,
        controls=False,
        data_root=data_root,
        work_dir=work_dir or f"work_dirs/error_rate_{Path(config.rpartition('::')[2]).stem}",
        cfg_options=cfg_options,
    )
    task = task_of(comparison.cfg)
    if task.default_metric not in AREA_METRICS:
        raise ConfigError(
            f"{config}: is of {task.name}. The error rate is measured with segmentors, from pixel "
            "counts; give the config of one."
        )
    processes = parse_devices(devices, jobs)
    with nullcontext() if report_only else alone_in(comparison.work_dir):
        restore_settings(comparison, "" if report_only else command, report_only)
        if not report_only:
            check_devices(processes)
            check(comparison, log)
            train(comparison, processes, log)
    folder = Path(out) if out else comparison.work_dir
    return write_error_rate(comparison, folder, seeds=seeds, pairs=pairs, metric=metric, log=log)
