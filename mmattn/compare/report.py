"""The report of a comparison: Markdown, CSV, JSON and a plot, from what its folder holds."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.errors import ConfigError
from mmattn.io import atomic_write

from . import statistics
from .plot import plot
from .provenance import machine_and_versions
from .run import choose_metric
from .statistics import AREA_METRICS, Difference, area_metric, difference, spread
from .train_variant import AREAS, RESULT, write_json
from .variants import BASE

if TYPE_CHECKING:
    from .run import Comparison


@dataclass
class Row:
    """One variant.

    Attributes:
        label: As on the command line.
        values: The metric, by seed.
        against: Compared with the base; None for the base, or where no seed is common.
        cost: Of ``costs.json``; None if nothing was measured.
        failures: Seeds without a result, with the reason.
    """

    label: str
    values: dict[int, float]
    against: Difference | None
    cost: dict[str, Any] | None
    failures: dict[int, str]

    @property
    def mean(self) -> float:
        return mean(self.values.values())

    @property
    def spread(self) -> float | None:
        return spread(list(self.values.values()))

    @property
    def latency(self) -> tuple[float, float]:
        """Lowest and median seconds of a forward pass."""
        return min(self.cost["latency"]), median(self.cost["latency"])

    def slower(self, base: Row) -> tuple[float, statistics.Interval]:
        """By how many seconds than ``base``, and the interval of that."""
        return statistics.median_difference(self.cost["latency"], base.cost["latency"])


def write_report(this: Comparison, out: Path, say: Callable[[str], None]) -> Path:
    """Write ``report.md``, ``runs.csv``, ``report.json`` and ``accuracy_latency.png``.

    Args:
        this: The comparison.
        out: The folder to write.
        say: Told the table.

    Returns:
        ``report.md``.

    Raises:
        ConfigError: No run of the base, or no other, is finished.
    """
    results = _read(this)
    metric, rows = _rows(this, results)
    costs = _costs(this)
    out.mkdir(parents=True, exist_ok=True)
    with_plot = all(row.cost for row in rows)
    if with_plot:
        plot(out / "accuracy_latency.png", rows, metric)
    _write_csv(out / "runs.csv", results)
    about = costs.get("machine") or machine_and_versions()
    write_json(out / "report.json", _as_json(this, metric, rows, results, costs, about))
    text = _markdown(this, metric, rows, results, costs, about, with_plot)
    with atomic_write(out / "report.md", "w") as file:
        file.write(text)
    say("")
    say("\n".join(_table(_summary(rows, metric))))
    say("")
    for sentence in _conclusions(rows, metric):
        say(sentence)
    say(f"Wrote {out / 'report.md'}")
    return out / "report.md"


def _read(this: Comparison) -> dict[tuple[str, int], dict[str, Any]]:
    """The results that are there, by variant and seed."""
    found = {}  # variant by variant, as rows are wanted
    for insert in this.inserts:
        for seed in range(this.seeds):
            file = this.run_dir(insert, seed) / RESULT
            if file.is_file():
                found[insert.label, seed] = json.loads(file.read_text(encoding="utf-8"))
    if not any(label == BASE and "metrics" in one for (label, _), one in found.items()):
        raise ConfigError(f"{this.work_dir}: no run of {BASE!r} is finished yet.")
    return found


def _costs(this: Comparison) -> dict[str, Any]:
    file = this.work_dir / "costs.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"costs": {}}


def _rows(this: Comparison, results: dict) -> tuple[str, list[Row]]:
    """The metric's name, and a row for every variant that has a result."""
    done = next(result for result in results.values() if "metrics" in result)
    metric = choose_metric(this, done["metrics"])
    costs = _costs(this)["costs"]
    values: dict[str, dict[int, float]] = {}
    areas: dict[str, dict[int, np.ndarray]] = {}
    for insert in this.inserts:
        values[insert.label], areas[insert.label] = {}, {}
        for seed in range(this.seeds):
            result = results.get((insert.label, seed), {})
            if "metrics" in result and metric not in result["metrics"]:
                result["failure"] = f"its evaluation gave no {metric}"
            if "failure" in result or not result:
                continue
            values[insert.label][seed] = result["metrics"][metric]
            if result["areas"] and metric in AREA_METRICS:
                counts = np.load(this.run_dir(insert, seed) / AREAS)["areas"]
                areas[insert.label][seed] = counts
                # The metric's own number is rounded.
                values[insert.label][seed] = float(area_metric(counts.sum(axis=0), metric))
    rows = []
    for insert in this.inserts:
        label = insert.label
        failures = {
            seed: result["failure"]
            for (name, seed), result in results.items()
            if name == label and "failure" in result
        }
        against = None
        if label != BASE:
            against = _against(values[label], values[BASE], areas[label], areas[BASE], metric)
        if values[label] or failures:
            rows.append(Row(label, values[label], against, costs.get(label), failures))
    return metric, rows


def _against(ours: dict, base: dict, our_areas: dict, base_areas: dict, metric: str):
    seeds = [seed for seed in ours if seed in base]
    if not seeds:
        return None
    counted = all(seed in our_areas and seed in base_areas for seed in seeds)
    return difference(
        [ours[seed] for seed in seeds],
        [base[seed] for seed in seeds],
        np.stack([our_areas[seed] for seed in seeds]) if counted else None,
        np.stack([base_areas[seed] for seed in seeds]) if counted else None,
        metric,
    )


def _summary(rows: Sequence[Row], metric: str) -> list[list[str]]:
    base = next((row for row in rows if row.label == BASE), None)
    head = ["variant", f"{metric}, mean ± sd", "difference to none", "bootstrap 95 %", "t 95 %"]
    head += ["verdict", "parameters", "MFLOPs", "latency min / median, ms", "step, ms"]
    head += ["peak inference, MB", "peak training, MB", "saved, MB"]
    lines = [head]
    for row in rows:
        line = [row.label]
        if row.values:
            sd = f" ± {row.spread:.2f}" if row.spread is not None else ""
            line.append(f"{row.mean:.2f}{sd}")
        else:
            line.append("failed")
        if row.against is None:
            line += ["", "", "", ""]
        else:
            line += [f"{row.against.mean:+.2f}", _interval(row.against.bootstrap)]
            line += [_interval(row.against.student), row.against.verdict]
        lines.append(line + _cost_cells(row, base))
    return lines


def _cost_cells(row: Row, base: Row | None) -> list[str]:
    if row.cost is None:
        return [""] * 7
    cost = row.cost
    parameters, flops = f"{cost['parameters']:,}", f"{cost['flops'] / 1e6:.1f}"
    if base is not None and base.cost is not None and row is not base:
        parameters = f"{cost['parameters'] - base.cost['parameters']:+,}"
        flops = f"{(cost['flops'] - base.cost['flops']) / 1e6:+.3g}"
    low, middle = row.latency
    return [
        parameters,
        flops,
        f"{1e3 * low:.1f} / {1e3 * middle:.1f}",
        f"{1e3 * median(cost['step']):.0f}",
        *(f"{cost[key] / 1e6:.1f}" for key in ("peak_inference", "peak_training", "saved")),
    ]


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"


def _table(lines: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table that reads well as text too."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    shown = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    return [shown[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *shown[1:]]


def _conclusions(rows: Sequence[Row], metric: str) -> list[str]:
    """What may be said, in sentences."""
    said = []
    base = next((row for row in rows if row.label == BASE), None)
    compared = [row for row in rows if row.against is not None]
    for row in compared:
        against = row.against
        drawn = "seeds and images" if against.over_images else "seeds"
        numbers = f"{against.mean:+.2f} {metric}, bootstrap over {drawn} "
        numbers += _interval(against.bootstrap)
        if against.student:
            numbers += f", t {_interval(against.student)}"
        said.append(f"- {row.label}: {against.verdict} ({numbers}).{_slower(row, base)}")
    said += [
        f"- {row.label}, seed {seed}: no result, {reason}."
        for row in rows
        for seed, reason in row.failures.items()
    ]
    if len(compared) > 1:
        said.append(
            f"- These are {len(compared)} comparisons at 95 %: by chance alone about "
            f"{0.05 * len(compared):.2g} of them would leave zero out."
        )
    return said


def _slower(row: Row, base: Row | None) -> str:
    """A sentence about the latency of a variant."""
    if base is None or base.cost is None or row.cost is None:
        return ""
    middle, interval = row.slower(base)
    shown = f"{1e3 * middle:+.2f} ms [{1e3 * interval[0]:+.2f}, {1e3 * interval[1]:+.2f}]"
    if interval[0] <= 0 <= interval[1]:
        return f" Its latency differs within noise ({shown})."
    return f" Its latency is {'higher' if middle > 0 else 'lower'} ({shown})."


def _write_csv(path: Path, results: dict) -> None:
    names = sorted({name for result in results.values() for name in result.get("metrics", {})})
    with atomic_write(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["variant", "seed", *names, "failure", "seconds_per_step", "commit", "torch", "threads"]
        )
        for (label, seed), result in results.items():
            metrics = result.get("metrics", {})
            steps = result.get("step_seconds")
            row = [label, seed, *(metrics.get(name, "") for name in names)]
            row += [result.get("failure", ""), f"{median(steps):.4f}" if steps else ""]
            writer.writerow([*row, result["commit"], result["torch"], result["threads"]])


def _as_json(this: Comparison, metric: str, rows, results, costs, about) -> dict[str, Any]:
    return {
        "config": this.config,
        "at": [str(place) for place in this.places],
        "blocks": {insert.label: insert.block for insert in this.inserts},
        "budget": {"given": this.budget, "iterations": this.iterations, "timing": this.timing},
        "commands": this.commands,
        "data": this.data,
        "metric": metric,
        "variants": [
            {
                "label": row.label,
                "values": row.values,
                "mean": row.mean if row.values else None,
                "spread": row.spread,
                "difference": None
                if row.against is None
                else {
                    "per_seed": row.against.per_seed,
                    "mean": row.against.mean,
                    "bootstrap": row.against.bootstrap,
                    "over_images": row.against.over_images,
                    "t": row.against.student,
                    "verdict": row.against.verdict,
                },
                "cost": row.cost,
                "failures": row.failures,
            }
            for row in rows
        ],
        "measured_on": {key: costs.get(key) for key in ("image", "batch_size", "commit")},
        "commits": sorted({result["commit"] for result in results.values()}),
        "machine": about,
        "remarks": this.remarks,
    }


def _markdown(this: Comparison, metric: str, rows, results, costs, about, with_plot) -> str:
    places = ", ".join(f"`{place}`" for place in this.places)
    blocks = ", ".join(insert.label for insert in this.inserts[1:])
    lines = [f"# {Path(this.config.rpartition('::')[2]).stem}: {blocks}", ""]
    lines += [f"The network of `{this.config}` with each block at {places}, and without one."]
    lines += ["", "## Result", "", *_table(_summary(rows, metric)), ""]
    lines += _conclusions(rows, metric)
    if with_plot:
        lines += ["", f"![{metric} against latency](accuracy_latency.png)"]
    lines += ["", f"## {metric} of each seed", "", *_table(_seed_table(this, rows))]
    lines += ["", "## How it was measured", "", *_method(this, rows, costs), *_untimed(results)]
    lines += ["", "## To repeat it", "", "```bash", *this.commands, "```", ""]
    lines += _facts(this, results, costs, about)
    return "\n".join(lines) + "\n"


def _seed_table(this: Comparison, rows: Sequence[Row]) -> list[list[str]]:
    base = next(row for row in rows if row.label == BASE)
    seeds = range(this.seeds)
    lines = [["variant", *(f"seed {s}" for s in seeds), *(f"difference {s}" for s in seeds)]]
    for row in rows:
        line = [row.label]
        line += [f"{row.values[s]:.2f}" if s in row.values else "-" for s in seeds]
        for s in seeds:
            both = row is not base and s in row.values and s in base.values
            line.append(f"{row.values[s] - base.values[s]:+.2f}" if both else "")
        lines.append(line)
    return lines


def _method(this: Comparison, rows: Sequence[Row], costs: dict[str, Any]) -> list[str]:
    timing = ""
    if this.timing:
        timing = (
            f" ({this.budget} at {this.timing['seconds_per_step']:.3g} s for a step of the network "
            f"without a block, the median of {this.timing['steps']} steps, set once)"
        )
    lines = [
        f"- Every run trains for {this.iterations} iterations{timing} and is validated once, at "
        "the end. Equal iterations keep the data and the schedule equal; what a block costs in "
        "time stands in the table. The schedule is the config's, scaled to this length.",
        "- Runs of one seed start from the same weights but for the block's own, see the same "
        "images in the same order with the same augmentation, and draw the same dropout masks.",
        f"- sd: standard deviation over {this.seeds} seeds (n - 1). Differences are between runs "
        "of equal seed.",
    ]
    against = [row.against for row in rows if row.against is not None]
    if any(one.over_images for one in against):
        lines.append(
            "- Bootstrap: seeds and validation images are drawn with replacement, independently, "
            "the same images for both networks; the metric is computed anew from the pixel "
            f"counts; middle {statistics.LEVEL:.0%} of 2000 draws. Few seeds can be drawn in few "
            "ways (three in ten), so it is too narrow in the part of the seeds."
        )
    else:
        lines.append(
            "- Bootstrap: the differences of the seeds are drawn with replacement, middle "
            f"{statistics.LEVEL:.0%} of 2000 draws. Of few seeds it says little: three can be "
            "drawn in ten ways. (This metric gives no counts for each image to draw from.)"
        )
    lines += [
        "- t: interval of Student's t over the seeds' differences; it pays for their small number.",
        "- higher, lower: both intervals leave zero out. perhaps: only the bootstrap does. within "
        "noise: neither allows to tell the block from none.",
    ]
    if costs["costs"]:
        image = " x ".join(map(str, costs["image"]))
        lines += [
            f"- FLOPs of one forward pass at {image}, 2 per multiply-add, products and "
            "convolutions only: means and gates are not counted. Latency: the same pass in eval "
            "mode, without decoding, variants in turn, "
            f"{len(next(iter(costs['costs'].values()))['latency'])} rounds in one process; the "
            "difference is the median over the rounds, with the bootstrap interval of that.",
            f"- Step: forward and backward on a batch of {costs['batch_size']}, median. Peak: the "
            "most that torch's allocator had handed out during one forward pass or one step, above "
            "what was there before (weights). Saved: what the forward pass keeps for the backward "
            "pass.",
        ]
    return lines + [f"- {remark}" for remark in this.remarks]


def _untimed(results: dict) -> list[str]:
    """A note for runs that were stopped after their last step: nothing kept its times."""
    runs = [f"{name} seed {s}" for (name, s), one in results.items() if not one.get("step_seconds")]
    if not runs:
        return []
    return [
        f"- No seconds_per_step in runs.csv for {', '.join(runs)}: stopped after the last step and "
        "evaluated by a later start, which took no step."
    ]


def _facts(this: Comparison, results: dict, costs: dict, about: dict) -> list[str]:
    commits = sorted({result["commit"] for result in results.values()})
    data = this.data
    lines = [
        f"- commit of the runs: {', '.join(commits)}",
        f"- commit of times and memory: {costs.get('commit', 'not measured')}",
        f"- threads of the runs: {', '.join(sorted({r['threads'] for r in results.values()}))}",
        f"- budget: {this.budget}, {this.iterations} iterations",
        f"- data: {data['class']} in {data['root'] or '(paths in the config)'}, "
        f"{data['train']} training and {data['val']} validation images, "
        f"{data['classes']} classes",
    ]
    return lines + [f"- {name}: {value}" for name, value in about.items()]
