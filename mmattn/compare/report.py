"""The files of a report, from what a comparison's folder holds.

report.md       everything, for a reader; report.html: the same as one page
table.csv       its first table; costs.csv: the second; table.tex: both for LaTeX (booktabs)
runs.csv        one row for each run; equal_time: whether it is as long as the base's in time
report.json     everything, for a program
run.lock        what a repetition needs (``lock``)
*.png           accuracy against latency, differences with their intervals
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from mmattn.io import atomic_write
from mmattn.reports.runs.facts import PAGE

from .files import write_csv, write_json
from .html_page import write_comparison_page
from .lock import LOCK, lock_content
from .markdown import beside_table, conclusions, markdown_page, summary_table
from .plan import Comparison
from .plot import plot_accuracy_latency, plot_differences
from .results import ComparisonResults, Measured, read_results
from .sentences import controls
from .statistics import Difference, Verdict
from .summary import cost_cells, csv_text, latex_text, summary_cells

#: Plots of a report: title -> file.
LATENCY_PLOT, DIFFERENCE_PLOT = "accuracy_latency.png", "differences.png"


def write_report(comparison: Comparison, out: Path, log: Callable[[str], None]) -> Path:
    """Write all files of a report.

    Args:
        comparison: The comparison.
        out: Folder of the files.
        log: Function that prints the table and the conclusions.

    Returns:
        Path of ``report.md``.

    Raises:
        ConfigError: No run of the base is finished, or the metric asked for does not exist.
    """
    results = read_results(comparison)
    out.mkdir(parents=True, exist_ok=True)
    plots = {}
    if all(row.cost for row in results.rows):
        plots[f"{results.metric} against latency"] = LATENCY_PLOT
        plot_accuracy_latency(out / LATENCY_PLOT, results.rows, results.metric)
    if any(row.verdict is not None for row in results.rows):
        plots["Differences to the network without a block"] = DIFFERENCE_PLOT
        plot_differences(out / DIFFERENCE_PLOT, results.rows, results.metric)
    _write_runs(out / "runs.csv", results)
    cells = summary_cells(results)
    caption = f"{comparison.config}: {comparison.seeds} seeds, {comparison.iterations} iterations."
    texts = {"report.md": markdown_page(results, plots), "table.csv": csv_text(cells)}
    costs = cost_cells(results)
    texts["costs.csv"] = csv_text(costs)
    texts["table.tex"] = f"{latex_text(cells, caption)}\n{latex_text(costs, 'Costs.')}"
    for name, text in texts.items():
        with atomic_write(out / name, "w") as file:
            file.write(text)
    write_json(out / "report.json", _as_json(results))
    write_json(out / LOCK, lock_content(results))
    write_comparison_page(results, plots, out / PAGE)
    log("")
    log(summary_table(results))
    for name in results.beside:
        log("")
        log(beside_table(results, name))
    log("")
    for sentence in (*conclusions(results), *controls(results)):
        log(sentence)
    log(f"Wrote {out / 'report.md'} and {out / PAGE}")
    return out / "report.md"


def _write_runs(path: Path, results: ComparisonResults) -> None:
    """Write a row for each run of the whole length, then for each in equal time."""
    comparison = results.comparison
    runs = [
        *(("no", comparison.iterations, *item) for item in results.runs.items()),
        *(
            ("yes", comparison.equal_time[key[0]]["iterations"], key, run)
            for key, run in results.shorter.items()
        ),
    ]
    names = sorted({name for *_, run in runs for name in run.get("metrics", {})})

    def rows() -> Iterator[list[Any]]:
        for equal_time, iterations, (label, seed), run in runs:
            metrics, steps = run.get("metrics", {}), run.get("step_seconds")
            yield [
                label,
                seed,
                equal_time,
                iterations,
                *(metrics.get(name, "") for name in names),
                run.get("failure", ""),
                f"{median(steps):.4f}" if steps else "",
                run["commit"],
                run["torch"],
                run["threads"],
            ]

    head = ["variant", "seed", "equal_time", "iterations", *names, "failure", "seconds_per_step"]
    write_csv(path, [*head, "commit", "torch", "threads"], rows())


def _as_json(results: ComparisonResults) -> dict[str, Any]:
    comparison = results.comparison
    return {
        "config": comparison.config,
        "at": [str(place) for place in comparison.places],
        "blocks": {variant.label: variant.block for variant in comparison.variants},
        "budget": {
            "given": comparison.budget,
            "iterations": comparison.iterations,
            "timing": comparison.timing,
        },
        "commands": comparison.commands,
        "data": comparison.data,
        "metric": results.metric,
        "variants": [
            {
                "label": row.label,
                **_measured(row),
                "verdict": _verdict(row.verdict),
                "wider_host": row.wider,
                "vs_wider_host": _difference(row.vs_wider),
                "wider_host_verdict": _verdict(row.wider_verdict),
                "step_ratio": row.ratio,
                "equal_time": None if row.equal_time is None else _measured(row.equal_time),
                "beside": {name: _measured(own) for name, own in row.beside.items()},
                "cost": row.cost,
                "failures": row.failures,
                "equal_time_failures": row.equal_time_failures,
            }
            for row in results.rows
        ],
        "measured_on": {key: results.costs.get(key) for key in ("image", "batch_size", "commit")},
        "commits": sorted({run["commit"] for run in results.runs.values()}),
        "machine": results.machine,
        "remarks": comparison.remarks,
        "wider_hosts": comparison.widenings,
        "no_wider_host": comparison.no_width,
        "equal_time": comparison.equal_time,
    }


def _measured(measured: Measured) -> dict[str, Any]:
    return {
        "values": measured.values,
        "mean": measured.mean if measured.values else None,
        "std": measured.std,
        "difference": _difference(measured.vs_base),
    }


def _difference(entry: Difference | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "per_seed": entry.per_seed,
        "mean": entry.mean,
        "t_interval": entry.t_interval,
        "p_seeds": entry.p_seeds,
        "image_interval": entry.image_interval,
        "p_images": entry.p_images,
        "effect_size": entry.effect_size,
    }


def _verdict(verdict: Verdict | None) -> dict[str, Any] | None:
    return None if verdict is None else asdict(verdict)
