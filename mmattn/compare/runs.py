"""Several trainings side by side: curves of one metric, a table, and what else differed.

A curve over a curve says nothing if the schedules differ. So the settings that two runs do not
share are looked up in their dumped configs and listed, but for the network and the seed. Runs are
taken together if their config has one name; that it also has one content, but for the seed, is
checked.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from mmattn.errors import ConfigError, did_you_mean
from mmattn.io import atomic_write
from mmattn.reports.curves import Curve, read_scalars
from mmattn.reports.figures import COLOURS, new_axes, plain_frame, save_png
from mmattn.tasks import task_of

# Settings that do not bear on the result: the seed, which is shown, and where a run lies.
_ELSEWHERE = ("randomness", "work_dir", "resume", "visualizer", "log_level", "experiment_name")
_LESS_IS_BETTER = ("loss", "ECE")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        folder: Its work dir.
        network: The name of its config.
        seed: None if the config leaves it to chance.
        metrics: name -> [(step, value), ...] over validations.
        settings: Its config, as a dict.
        minutes: Wall time from the config being written to the last validation, of all its starts.
    """

    folder: Path
    network: str
    seed: int | None
    metrics: Mapping[str, Curve]
    settings: Mapping[str, Any]
    minutes: float


def read_run(folder: str | Path) -> Run:
    """Read a run's work dir, with all the starts it had.

    Raises:
        ConfigError: There is no run in ``folder``, or it was never validated.
    """
    from mmengine.config import Config

    folder = Path(folder)
    starts = sorted(folder.glob("*/vis_data/scalars.json"))
    configs = sorted(folder.glob("*.py"), key=lambda path: path.stat().st_mtime)
    if not starts or not configs:
        raise ConfigError(
            f"{folder}: no run here. Expected is a work dir of tools/train.py, which holds the "
            "config (NAME.py) and a folder with vis_data/scalars.json for each start."
        )
    metrics = read_scalars(starts)[1]
    if not metrics:
        raise ConfigError(f"{folder}: this run has not been validated yet, so it has no metric.")
    cfg = Config.fromfile(str(configs[-1])).to_dict()
    seed = (cfg.get("randomness") or {}).get("seed")
    return Run(
        folder,
        configs[-1].stem,
        seed,
        metrics,
        cfg,
        sum(run_minutes(start.parent) for start in starts),
    )


def run_minutes(vis_data: Path) -> float:
    """Wall time of one start, from its config being written to its last scalar."""
    first = (vis_data / "config.py").stat().st_mtime
    return ((vis_data / "scalars.json").stat().st_mtime - first) / 60


def by_network(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of one config together, in order of seed.

    Raises:
        ConfigError: Runs of one name differ in more than the seed.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.network, []).append(run)
    for network, group in groups.items():
        group.sort(key=lambda run: (run.seed is None, run.seed or 0))
        differing = differences(group)
        if differing:
            raise ConfigError(
                f"{' and '.join(str(run.folder) for run in group)} are runs of configs called "
                f"{network} that differ in {', '.join(differing)}, so they are no seeds of one "
                "experiment. Give one of them, or rename the config in one of the folders."
            )
    return groups


def choose_metric(runs: Sequence[Run], name: str | None) -> str:
    """``name`` if all runs have it; without a name the first that all have.

    Raises:
        ConfigError: A run lacks it, or there is none that all have.
    """
    common = [key for key in runs[0].metrics if all(key in run.metrics for run in runs)]
    if name is None:
        if not common:
            raise ConfigError("These runs have no metric in common: give runs of one task.")
        usual = task_of(runs[0].settings).default_metric
        return next((key for key in common if key.rpartition("/")[2] == usual), common[0])
    for run in runs:
        if name not in run.metrics:
            raise ConfigError(
                f"{run.folder}: no metric {name!r}.{did_you_mean(name, run.metrics)} "
                f"It has {', '.join(sorted(run.metrics))}."
            )
    return name


def differences(runs: Sequence[Run], but: Sequence[str] = ()) -> list[str]:
    """Dotted settings that are not equal in all runs, except the seed and where a run lies.

    Variables of a config, which nothing reads but the config itself, are no settings.

    Args:
        runs: At least one.
        but: Further top-level settings to leave out.
    """
    from mmattn.preflight.config_keys import READ_KEYS

    compared = READ_KEYS.difference(_ELSEWHERE, but)
    flat = [
        dict(_flat({key: run.settings[key] for key in run.settings if key in compared}))
        for run in runs
    ]
    keys = {key: None for settings in flat for key in settings}
    missing = object()
    return [
        key
        for key in keys
        if any(settings.get(key, missing) != flat[0].get(key, missing) for settings in flat)
    ]


def _flat(value: Any, place: str = ""):
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def markdown_table(runs: Sequence[Run], metric: str) -> str:
    """One row per network: last and best value over the seeds, and the time it took."""
    lines = [
        f"| network | seeds | last {metric} | of each seed | best | at step | minutes a run |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for network, group in by_network(runs).items():
        last = [run.metrics[metric][-1][1] for run in group]
        better = min if any(word in metric for word in _LESS_IS_BETTER) else max
        step, best = better(
            (point for run in group for point in run.metrics[metric]), key=lambda point: point[1]
        )
        spread = f" ± {stdev(last):.2f}" if len(last) > 1 else ""
        seeds = ", ".join("?" if run.seed is None else str(run.seed) for run in group)
        each = ", ".join(f"{value:.2f}" for value in last)
        time = f"{mean(run.minutes for run in group):.0f}"
        lines.append(
            f"| {network} | {seeds} | {mean(last):.2f}{spread} | {each} | {best:.2f} | {step:g} "
            f"| {time} |"
        )
    return "\n".join(lines)


def write_csv(path: Path, runs: Sequence[Run]) -> None:
    """Every value of every metric of every validation, one per row."""
    with atomic_write(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("network", "seed", "step", "metric", "value"))
        for run in runs:
            for name, curve in run.metrics.items():
                writer.writerows((run.network, run.seed, step, name, v) for step, v in curve)


def draw(path: Path, runs: Sequence[Run], metric: str) -> None:
    """Curves: thin ones are runs, a thick one is the mean of a network's seeds."""
    axes = new_axes(7.6, 4.6, dpi=120)
    for index, (network, group) in enumerate(by_network(runs).items()):
        colour = COLOURS[index % len(COLOURS)]
        curves = [dict(run.metrics[metric]) for run in group]
        steps = sorted(set(curves[0]).intersection(*curves[1:]))
        if len(group) > 1:
            for curve in curves:
                axes.plot(*zip(*curve.items(), strict=True), color=colour, alpha=0.35, linewidth=1)
        middle = [mean(curve[step] for curve in curves) for step in steps]
        of = f", mean of {len(group)}" if len(group) > 1 else ""
        axes.plot(
            steps, middle, "o-", color=colour, markersize=4, linewidth=2.2, label=network + of
        )
    axes.set_xlabel("step of the validation")
    axes.set_ylabel(metric)
    axes.legend(fontsize="small", frameon=False)
    plain_frame(axes)
    save_png(axes, path)
