"""The text of a report, in Markdown: tables, conclusions, and how everything was measured."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from mmattn.tables import markdown_table

from .results import ComparisonResults, Measured, Row
from .statistics import DRAWS, LEVEL, Interval

_HEAD = (
    *("difference to none", "bootstrap 95 %", "t 95 %", "verdict", "parameters", "MFLOPs"),
    *("latency min / median, ms", "step, ms"),
    *("peak inference, MB", "peak training, MB", "saved, MB"),
)
_MEMORY = ("peak_inference", "peak_training", "saved")


def markdown_page(results: ComparisonResults, plot: str | None) -> str:
    """Write the whole report.

    Args:
        results: Results of the comparison.
        plot: File name of the plot; None if there is none.
    """
    comparison, metric = results.comparison, results.metric
    places = ", ".join(f"`{place}`" for place in comparison.places)
    blocks = ", ".join(variant.label for variant in comparison.variants[1:])
    lines = [f"# {Path(comparison.config.rpartition('::')[2]).stem}: {blocks}", ""]
    lines += [f"The network of `{comparison.config}` with each block at {places}, and without one."]
    lines += ["", "## Result", "", summary_table(results), "", *conclusions(results)]
    if plot:
        lines += ["", f"![{metric} against latency]({plot})"]
    for name in results.beside:
        lines += ["", f"## Beside: {name}", "", beside_table(results, name)]
    lines += ["", f"## {metric} of each seed", "", _seed_table(results)]
    lines += ["", "## How it was measured", "", *_method(results), *_untimed(results)]
    lines += ["", "## To repeat it", "", "```bash", *comparison.commands, "```", ""]
    return "\n".join([*lines, *_facts(results)]) + "\n"


def summary_table(results: ComparisonResults) -> str:
    """Write the table of all variants: metric, difference to the base, costs."""
    rows = []
    for row in results.rows:
        cells = [row.label, "failed"]
        if row.values:
            cells[1] = _mean(row, results.digits)
        cells += _difference_cells(row, results.digits)
        cells.append("" if row.vs_base is None else row.vs_base.verdict)
        rows.append(cells + _cost_cells(row, results.base))
    return markdown_table(["variant", f"{results.metric}, mean ± sd", *_HEAD], rows)


def beside_table(results: ComparisonResults, metric: str) -> str:
    """Write the table of a metric that is shown beside the one that is compared."""
    rows = []
    for row in results.rows:
        own = row.beside.get(metric)
        if own is not None:
            cells = [row.label, _mean(own, results.digits)]
            rows.append(cells + _difference_cells(own, results.digits))
    return markdown_table(["variant", f"{metric}, mean ± sd", *_HEAD[:3]], rows)


def _mean(measured: Measured, digits: int) -> str:
    spread = "" if measured.std is None else f" ± {measured.std:.{digits}f}"
    return f"{measured.mean:.{digits}f}{spread}"


def _difference_cells(measured: Measured, digits: int) -> list[str]:
    vs_base = measured.vs_base
    if vs_base is None:
        return ["", "", ""]
    ends = (vs_base.bootstrap, vs_base.t_interval)
    return [f"{vs_base.mean:+.{digits}f}", *(_interval(interval, digits) for interval in ends)]


def conclusions(results: ComparisonResults) -> list[str]:
    """Write what may be concluded, one sentence for each variant and each failure."""
    lines = []
    compared = [row for row in results.rows if row.vs_base is not None]
    for row in compared:
        vs_base = row.vs_base
        drawn = "seeds and images" if vs_base.over_images else "seeds"
        digits = results.digits
        numbers = f"{vs_base.mean:+.{digits}f} {results.metric}, bootstrap over {drawn} "
        numbers += _interval(vs_base.bootstrap, digits)
        if vs_base.t_interval:
            numbers += f", t {_interval(vs_base.t_interval, digits)}"
        lines.append(f"- {row.label}: {vs_base.verdict} ({numbers}).{_latency(row, results.base)}")
    lines += [
        f"- {row.label}, seed {seed}: no result, {reason}."
        for row in results.rows
        for seed, reason in row.failures.items()
    ]
    if len(compared) > 1:
        lines.append(
            f"- These are {len(compared)} comparisons at 95 %: about {0.05 * len(compared):.2g} of "
            "these intervals would exclude zero by chance alone."
        )
    return lines


def _cost_cells(row: Row, base: Row) -> list[str]:
    if row.cost is None:
        return [""] * 7
    cost = row.cost
    parameters, flops = f"{cost['parameters']:,}", f"{cost['flops'] / 1e6:.1f}"
    if base.cost is not None and row is not base:
        parameters = f"{cost['parameters'] - base.cost['parameters']:+,}"
        flops = f"{(cost['flops'] - base.cost['flops']) / 1e6:+.3g}"
    lowest, middle = row.latency
    latency = f"{1e3 * lowest:.1f} / {1e3 * middle:.1f}"
    memory = [f"{cost[key] / 1e6:.1f}" for key in _MEMORY]
    return [parameters, flops, latency, f"{1e3 * median(cost['step']):.0f}", *memory]


def _interval(interval: Interval | None, digits: int) -> str:
    if interval is None:
        return "-"
    return f"[{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]"


def _latency(row: Row, base: Row) -> str:
    """Write a sentence about the latency of a variant."""
    if base.cost is None or row.cost is None:
        return ""
    middle, (low, high) = row.latency_difference(base)
    numbers = f"{1e3 * middle:+.2f} ms [{1e3 * low:+.2f}, {1e3 * high:+.2f}]"
    if low <= 0 <= high:
        return f" Its latency differs within noise ({numbers})."
    return f" Its latency is {'higher' if middle > 0 else 'lower'} ({numbers})."


def _seed_table(results: ComparisonResults) -> str:
    base, seeds = results.base, range(results.comparison.seeds)
    digits = results.digits
    rows = []
    for row in results.rows:
        cells = [row.label]
        cells += [f"{row.values[s]:.{digits}f}" if s in row.values else "-" for s in seeds]
        for s in seeds:
            both = row is not base and s in row.values and s in base.values
            cells.append(f"{row.values[s] - base.values[s]:+.{digits}f}" if both else "")
        rows.append(cells)
    head = ["variant", *(f"seed {s}" for s in seeds), *(f"difference {s}" for s in seeds)]
    return markdown_table(head, rows)


def _method(results: ComparisonResults) -> list[str]:
    comparison = results.comparison
    timing = ""
    if comparison.timing:
        timing = (
            f" ({comparison.budget} at {comparison.timing['seconds_per_step']:.3g} s for a step of "
            f"the network without a block, the median of {comparison.timing['steps']} steps, "
            "measured once)"
        )
    lines = [
        f"- Every run trains for {comparison.iterations} iterations{timing} and is validated once, "
        "at the end. All variants train equally long, so data and schedule are equal; what a block "
        "costs in time is in the table. The schedule is the config's, scaled to this length.",
        "- Runs of one seed start from the same weights, except those of the block itself, see the "
        "same images in the same order with the same augmentation, and draw the same dropout "
        "masks.",
        f"- sd: standard deviation over {comparison.seeds} seeds (n - 1). Differences are between "
        "runs of the same seed.",
    ]
    perhaps = ""
    segmented = any(run.get("areas") for run in results.runs.values())
    counted = "the pixel counts" if segmented else "the matched detections"
    if any(row.vs_base is not None and row.vs_base.over_images for row in results.rows):
        perhaps = "perhaps: only the bootstrap interval does. "
        lines.append(
            "- Bootstrap: seeds and validation images are drawn with replacement, independently of "
            "each other, the same images for both networks, and the metric is computed anew from "
            f"{counted}. The interval is the middle {LEVEL:.0%} of {DRAWS} draws. A few "
            "seeds can be drawn in few ways (three in ten), so it understates the variation "
            "between seeds."
        )
    else:
        lines.append(
            "- Bootstrap: the differences of the seeds are drawn with replacement. The interval is "
            f"the middle {LEVEL:.0%} of {DRAWS} draws. With few seeds it says little: three can be "
            "drawn in ten ways. (This metric gives no counts for each image, so images cannot be "
            "drawn.)"
        )
    lines += [
        "- t: Student's t interval over the differences of the seeds; the fewer seeds there are, "
        "the wider it is.",
        f"- higher, lower: both intervals exclude zero. {perhaps}within noise: anything else; the "
        "difference may be chance.",
    ]
    costs = results.costs
    if costs["costs"]:
        image = " x ".join(map(str, costs["image"]))
        rounds = len(next(iter(costs["costs"].values()))["latency"])
        lines += [
            f"- FLOPs: of one forward pass at {image}, 2 per multiply-add; only matrix products "
            "and convolutions are counted, no means and no gates. Latency: of the same pass in "
            "eval mode, without post-processing (resizing to the image, decoding of boxes, NMS)"
            f"{_proposals(results)}. Variants take turns, {rounds} rounds in one process; the "
            "latency difference is the median over the rounds, with its bootstrap interval.",
            f"- Step: forward and backward pass on a batch of {costs['batch_size']}, median. Peak: "
            "the most memory that torch's allocator had handed out during one forward pass or one "
            "step, in addition to what was there before (weights). Saved: memory that the forward "
            "pass keeps for the backward pass.",
        ]
    return lines + [f"- {remark}" for remark in comparison.remarks]


def _proposals(results: ComparisonResults) -> str:
    """Write what else is in the forward pass of a detector of two stages."""
    if not results.costs.get("two_stages"):
        return ""
    return (
        "; proposals are part of it, with their NMS, since the second stage works on them. Their "
        "number depends on the weights: all networks have the initial ones of seed 0"
    )


def _untimed(results: ComparisonResults) -> list[str]:
    """Write a note on runs that were stopped after their last step: nothing kept their times."""
    names = [
        f"{label} seed {seed}"
        for (label, seed), run in results.runs.items()
        if not run.get("step_seconds")
    ]
    if not names:
        return []
    return [
        f"- No seconds_per_step in runs.csv for {', '.join(names)}: stopped after the last step "
        "and evaluated by a later start, which took no step."
    ]


def _facts(results: ComparisonResults) -> list[str]:
    comparison, data, runs = results.comparison, results.comparison.data, results.runs.values()
    facts = {
        "commit of the runs": ", ".join(sorted({run["commit"] for run in runs})),
        "commit of times and memory": results.costs.get("commit", "not measured"),
        "threads of the runs": ", ".join(sorted({run["threads"] for run in runs})),
        "budget": f"{comparison.budget}, {comparison.iterations} iterations",
        "data": f"{data['class']} in {data['root'] or '(paths in the config)'}, "
        f"{data['train']} training and {data['val']} validation images, {data['classes']} classes",
        **results.machine,
    }
    return [f"- {name}: {value}" for name, value in facts.items()]
