"""Finished trainings side by side: curves of one metric, a table, and what else differed.

Two curves say nothing about two networks if the schedules differ. So the settings that runs do not
share, except for the network and the seed, are looked up in their dumped configs and listed. Runs
are grouped by the name of their config; that the configs of a group also have the same content,
except for the seed, is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from mmattn.errors import ConfigError
from mmattn.io import atomic_write
from mmattn.reports.runs.facts import PAGE
from mmattn.tables import markdown_table
from mmattn.tasks import task_of

from .files import write_csv
from .metric import pick_metric
from .one_run import Run, by_network, differences, read_run
from .plot import plot_curves
from .runs_page import write_runs_page
from .statistics import std

_LESS_IS_BETTER = ("loss", "ECE")


def compare_runs(
    folders: Sequence[str | Path],
    *,
    metric: str | None = None,
    out: Path | None = None,
    command: str = "",
    log: Callable[[str], None] = print,
) -> None:
    """Print a table of finished (or running) trainings, and write a report.

    Args:
        folders: Work dirs of ``mmattn train``.
        metric: Name of the metric; by default the task's usual one, else the first.
        out: Folder for ``report.html``, ``report.md``, ``curves.png`` and ``runs.csv``; None writes
            nothing.
        command: Command line, for the report.
        log: Function that prints.

    Raises:
        ConfigError: A folder holds no run, or the runs have no metric in common.
    """
    runs = [read_run(folder) for folder in folders]
    metric = choose_metric(runs, metric)
    table = runs_table(runs, metric)
    differing = differences(runs, but=("model",))
    remark = (
        "All settings except the model and the seed are equal."
        if not differing
        else f"Besides model and seed, these settings differ: {', '.join(differing)}."
    )
    remark = "\n".join([*unlike_steps(runs, metric), remark])
    log(f"{table}\n\n{remark}")
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    curves = {
        network: [run.metrics[metric] for run in group]
        for network, group in by_network(runs).items()
    }
    plot_curves(out / "curves.png", curves, metric)
    write_values(out / "runs.csv", runs)
    text = f"# {metric} of {len(runs)} runs\n\n{table}\n\n{remark}\n\n![curves](curves.png)\n"
    text += f"\nWritten by `{command}`; every value is in [runs.csv](runs.csv).\n"
    with atomic_write(out / "report.md", "w") as file:
        file.write(text)
    page = write_runs_page(runs, metric, out / PAGE, remark=remark, command=command)
    log(f"\nWrote {page} and {out / 'report.md'}")


def choose_metric(runs: Sequence[Run], name: str | None) -> str:
    """Return ``name`` if all runs have it; without a name the task's usual metric, else the first.

    Raises:
        ConfigError: A run lacks it, or there is none that all have.
    """
    if name is not None:
        for run in runs:
            pick_metric(run.metrics, name, task_of(run.settings), str(run.folder))
        return name
    shared = [key for key in runs[0].metrics if all(key in run.metrics for run in runs)]
    if not shared:
        each = "; ".join(f"{run.folder}: {', '.join(run.metrics) or 'none'}" for run in runs)
        raise ConfigError(f"These runs have no metric in common ({each}). Give runs of one task.")
    return pick_metric(shared, None, task_of(runs[0].settings), str(runs[0].folder))


def runs_table(runs: Sequence[Run], metric: str) -> str:
    """Write one row for each network: last and best value over the seeds, and the time it took.

    Seeds are averaged at the last step at which all of them were validated, never over unlike
    steps; a run that went on beyond it, or that has no step in common with the others, is marked
    by ``unlike_steps``.
    """
    rows = []
    for network, group in by_network(runs).items():
        curves = [dict(run.metrics[metric]) for run in group]
        common = last_common_step(group, metric)
        end = max(map(max, curves))
        if common is None:
            last = mean_text = "-"
            each = ", ".join(f"{curve[max(curve)]:.2f} at {max(curve):g}" for curve in curves)
        else:
            values = [curve[common] for curve in curves]
            last = f"{common:g}"
            mean_text = f"{mean(values):.2f}"
            mean_text += f" ± {std(values):.2f}" if len(values) > 1 else ""
            each = ", ".join(f"{value:.2f}" for value in values)
        better = min if any(word in metric for word in _LESS_IS_BETTER) else max
        step, best = better(
            (
                point
                for run in group
                for point in run.metrics[metric]
                if common is None or point[0] <= common
            ),
            key=lambda point: point[1],
        )
        whole = [
            run.minutes
            for run, curve in zip(group, curves, strict=True)
            if max(curve) == end and run.minutes is not None
        ]
        rows.append(
            [
                network,
                ", ".join("?" if run.seed is None else str(run.seed) for run in group),
                last,
                mean_text,
                each,
                f"{best:.2f}",
                f"{step:g}",
                f"{mean(whole):.1f}" if whole else "-",
            ]
        )
    head = ("network", "seeds", "step", f"{metric} there", "of each seed", "best", "at step")
    return markdown_table([*head, "minutes per run"], rows)


def last_common_step(runs: Sequence[Run], metric: str) -> float | None:
    """Return the last step at which all runs were validated; None if there is none."""
    shared = set.intersection(*({step for step, _ in run.metrics[metric]} for run in runs))
    return max(shared, default=None)


def unlike_steps(runs: Sequence[Run], metric: str) -> list[str]:
    """Say which runs ended where others went on, and which networks are compared there.

    Returns:
        Sentences; none if all runs end at the same step.
    """
    remarks = []
    at: dict[str, float | None] = {}
    for network, group in by_network(runs).items():
        ends = {str(run.folder): run.metrics[metric][-1][0] for run in group}
        common = at[network] = last_common_step(group, metric)
        if common is None:
            listed = ", ".join(f"{folder} at {end:g}" for folder, end in ends.items())
            remarks.append(
                f"The runs of {network} were validated at no common step (they end: {listed}), so "
                "they are not averaged."
            )
        elif set(ends.values()) != {common}:
            listed = ", ".join(
                f"{folder} at {end:g}" for folder, end in ends.items() if end != common
            )
            remarks.append(
                f"The runs of {network} are compared at step {common:g}, the last that all of them "
                f"reached; there are later values of {listed}."
            )
    short = {
        run.folder: (run.metrics[metric][-1][0], planned)
        for run in runs
        if (planned := _planned_steps(run)) and run.metrics[metric][-1][0] < planned
    }
    remarks += [
        f"{folder} is not finished: step {end:g} of {planned:g}."
        for folder, (end, planned) in short.items()
    ]
    if len(set(at.values())) > 1:
        listed = ", ".join(
            f"{network} at {'no common step' if step is None else f'{step:g}'}"
            for network, step in at.items()
        )
        remarks.append(f"The networks are shown at unlike steps: {listed}.")
    return remarks


def _planned_steps(run: Run) -> float | None:
    """Return the steps that a run was to take, in the unit of its validations."""
    loop = run.settings.get("train_cfg") or {}
    return loop.get("max_iters") or loop.get("max_epochs")


def write_values(path: Path, runs: Sequence[Run]) -> None:
    """Write every value of every metric of every validation, one per row."""
    rows = (
        (run.network, run.seed, step, name, value)
        for run in runs
        for name, curve in run.metrics.items()
        for step, value in curve
    )
    write_csv(path, ("network", "seed", "step", "metric", "value"), rows)
