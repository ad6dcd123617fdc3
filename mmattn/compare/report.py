"""The files of a report: Markdown, CSV, JSON and a plot, from what a comparison's folder holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from mmattn.io import atomic_write

from .files import write_csv, write_json
from .markdown import beside_table, conclusions, markdown_page, summary_table
from .plan import Comparison
from .plot import plot_accuracy_latency
from .results import ComparisonResults, Measured, read_results

PLOT = "accuracy_latency.png"


def write_report(comparison: Comparison, out: Path, log: Callable[[str], None]) -> Path:
    """Write ``report.md``, ``runs.csv``, ``report.json`` and ``accuracy_latency.png``.

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
    plot = None
    if all(row.cost for row in results.rows):
        plot = PLOT
        plot_accuracy_latency(out / plot, results.rows, results.metric)
    _write_runs(out / "runs.csv", results)
    write_json(out / "report.json", _as_json(results))
    with atomic_write(out / "report.md", "w") as file:
        file.write(markdown_page(results, plot))
    log("")
    log(summary_table(results))
    for name in results.beside:
        log("")
        log(beside_table(results, name))
    log("")
    for sentence in conclusions(results):
        log(sentence)
    log(f"Wrote {out / 'report.md'}")
    return out / "report.md"


def _write_runs(path: Path, results: ComparisonResults) -> None:
    runs = results.runs
    names = sorted({name for run in runs.values() for name in run.get("metrics", {})})

    def rows() -> Iterator[list[Any]]:
        for (label, seed), run in runs.items():
            metrics, steps = run.get("metrics", {}), run.get("step_seconds")
            yield [
                label,
                seed,
                *(metrics.get(name, "") for name in names),
                run.get("failure", ""),
                f"{median(steps):.4f}" if steps else "",
                run["commit"],
                run["torch"],
                run["threads"],
            ]

    software = ["commit", "torch", "threads"]
    write_csv(path, ["variant", "seed", *names, "failure", "seconds_per_step", *software], rows())


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
                "beside": {name: _measured(own) for name, own in row.beside.items()},
                "cost": row.cost,
                "failures": row.failures,
            }
            for row in results.rows
        ],
        "measured_on": {key: results.costs.get(key) for key in ("image", "batch_size", "commit")},
        "commits": sorted({run["commit"] for run in results.runs.values()}),
        "machine": results.machine,
        "remarks": comparison.remarks,
    }


def _measured(measured: Measured) -> dict[str, Any]:
    vs_base = measured.vs_base
    return {
        "values": measured.values,
        "mean": measured.mean if measured.values else None,
        "std": measured.std,
        "difference": None
        if vs_base is None
        else {
            "per_seed": vs_base.per_seed,
            "mean": vs_base.mean,
            "bootstrap": vs_base.bootstrap,
            "over_images": vs_base.over_images,
            "t_interval": vs_base.t_interval,
            "verdict": vs_base.verdict,
        },
    }
