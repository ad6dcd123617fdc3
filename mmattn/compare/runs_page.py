"""Finished trainings side by side on one page: curves, values, speed, and all that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from mmattn.reports.curves import Curve
from mmattn.reports.html import components as part
from mmattn.reports.html.charts import Line, line_chart
from mmattn.reports.html.components import Html
from mmattn.reports.html.page import Report
from mmattn.reports.number_formats import count
from mmattn.reports.runs.left import best_point

from .one_run import MISSING, Run, setting_values

#: Metrics of the table beyond which the rest is folded.
_METRICS = 12


def write_runs_page(
    runs: Sequence[Run], metric: str, path: Path, *, remark: str = "", command: str = ""
) -> Path:
    """Write the page.

    Args:
        runs: At least one run.
        metric: Name of the metric that is looked at first, which all runs have.
        path: File to write.
        remark: What is to be known before values are compared.
        command: Command line that asked for the page.
    """
    names = run_names(runs)
    report = Report(f"{metric} of {len(runs)} runs", ", ".join(names))
    report.add(part.cards(_cards(runs, names, metric)))
    if remark:
        report.add(part.banner(remark, mild=True))
    for title, parts in {
        "Curves": _curves(runs, names, metric),
        "Results": _results(runs, names, metric),
        "Differences of the configs": _settings(runs, names),
        "Speed": _speed(runs, names),
        "Differences of the environments": _environments(runs, names),
        "Runs": _folders(runs, names),
    }.items():
        if parts:
            report.section(title, *parts)
    report.footer = f"Written by {command}." if command else ""
    return report.write(path)


def run_names(runs: Sequence[Run]) -> list[str]:
    """Name each run by its folder, with as much of the path as tells it from the others."""
    for depth in range(1, 8):
        names = ["/".join(run.folder.resolve().parts[-depth:]) for run in runs]
        if len(set(names)) == len(names):
            return names
    return [f"{run.folder} ({number})" for number, run in enumerate(runs, start=1)]


def _cards(runs: Sequence[Run], names: Sequence[str], metric: str) -> list[tuple[str, str, str]]:
    cards = []
    for run, name in zip(runs, names, strict=True):
        step, value = best_point(metric, run.metrics[metric])
        cards.append((name, f"{value:.4g}", f"best {metric}, at {step:g}"))
    return cards[:8]


def _curves(runs: Sequence[Run], names: Sequence[str], metric: str) -> list[Html]:
    groups = [[part.heading(metric), _over_each_other(
        {name: run.metrics[metric] for run, name in zip(runs, names, strict=True)},
        "step of the validation",
    )]]  # fmt: skip
    for title, key in (("Training loss", "loss"), ("Learning rate", "lr")):
        curves = {
            name: run.left.curves[0][key]
            for run, name in zip(runs, names, strict=True)
            if run.left is not None and run.left.curves[0].get(key)
        }
        if curves:
            groups.append([part.heading(title), _over_each_other(curves, "iteration")])
    return [part.columns(*groups)]


def _over_each_other(curves: Mapping[str, Curve], x_label: str) -> Html:
    return line_chart(
        [Line(name, curve) for name, curve in curves.items()],
        x_label=x_label,
        y_label="",
        description=f"Curves of {', '.join(curves)}",
    )


def _results(runs: Sequence[Run], names: Sequence[str], metric: str) -> list[Html]:
    """Write best and last value of each metric, and the difference to the first run."""
    every = dict.fromkeys([metric, *(name for run in runs for name in run.metrics)])
    rows = []
    for key in every:
        bests = [
            best_point(key, run.metrics[key])[1] if key in run.metrics else None for run in runs
        ]
        for kind, values in (
            ("best", bests),
            ("last", [run.metrics[key][-1][1] if key in run.metrics else None for run in runs]),
        ):
            rows.append([f"{key}, {kind}", *_against_first(values)])
    head = ("metric", *names)
    numbers = range(1, len(head))
    said = "In brackets: the difference to the first run. One run of each says little about chance."
    parts = [
        part.paragraph(said, muted=True),
        part.table(head, rows[: 2 * _METRICS], numbers=numbers),
    ]
    if len(rows) > 2 * _METRICS:
        rest = part.table(head, rows[2 * _METRICS :], numbers=numbers)
        parts.append(part.folded(f"{len(every) - _METRICS} more metrics", rest))
    return parts


def _against_first(values: Sequence[float | None]) -> list[str]:
    first = values[0]
    cells = []
    for place, value in enumerate(values):
        if value is None:
            cells.append(MISSING)
        elif not place or first is None:
            cells.append(f"{value:.4g}")
        else:
            cells.append(f"{value:.4g} ({value - first:+.3g})")
    return cells


def _settings(runs: Sequence[Run], names: Sequence[str]) -> list[Html]:
    found = setting_values(runs)
    if not found:
        return [part.paragraph("None: all settings are equal.")]
    rows = [[key, *map(_short, values)] for key, values in found.items()]
    return [part.table(("setting", *names), rows)]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:297]}..."


def _speed(runs: Sequence[Run], names: Sequence[str]) -> list[Html]:
    rows = []
    for run, name in zip(runs, names, strict=True):
        speed = run.left.speed if run.left is not None else {}
        facts = run.left.facts if run.left is not None else {}
        parameters = (facts.get("model") or {}).get("parameters")
        memory = speed.get("memory")
        rows.append(
            [
                name,
                _median(speed.get("time")),
                _median(speed.get("data_time")),
                MISSING if run.minutes is None else f"{run.minutes:.1f}",
                MISSING if not memory else f"{max(v for _, v in memory):.0f}",
                MISSING if parameters is None else count(parameters),
            ]
        )
    head = ("run", "s a step", "of it for data", "minutes", "device memory, MiB", "parameters")
    return [part.table(head, rows, numbers=range(1, len(head)))]


def _median(curve: Curve | None) -> str:
    return f"{median(v for _, v in curve):.4g}" if curve else MISSING


def _environments(runs: Sequence[Run], names: Sequence[str]) -> list[Html]:
    tables = [_environment(run) for run in runs]
    if not any(tables):
        return []
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = [
        [key, *(table.get(key, MISSING) for table in tables)]
        for key in keys
        if len({table.get(key) for table in tables}) > 1
    ]
    if not rows:
        return [part.paragraph("None: machine, backends and versions are equal.")]
    return [part.table(("", *names), rows)]


def _environment(run: Run) -> dict[str, str]:
    if run.left is None:
        return {}
    tables = run.left.facts.get("environment") or {}
    found = {name: str(value) for table in tables.values() for name, value in table.items()}
    # Results depend on the data as well.
    for data in run.left.facts.get("data") or ():
        if mark := data.get("fingerprint"):
            found[f"{data['split']} data, SHA-256 of names and sizes"] = mark["sha256"][:16]
    return found


def _folders(runs: Sequence[Run], names: Sequence[str]) -> list[Html]:
    rows = []
    for run, name in zip(runs, names, strict=True):
        commands = [s.command for s in run.left.starts if s.command] if run.left else []
        rows.append([name, str(run.folder), "; ".join(commands) or MISSING])
    return [part.table(("run", "folder", "command"), rows)]
