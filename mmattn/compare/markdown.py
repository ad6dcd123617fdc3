"""The text of a report, in Markdown: tables, conclusions, and how everything was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmattn.tables import markdown_table

from .results import ComparisonResults
from .sentences import controls, sentences
from .statistics import DRAWS, LEVEL, POWER
from .summary import Cells, cost_cells, difference_cells, mean_cell, summary_cells
from .variants import OTHER_SEEDS, SEED_OFFSET


def markdown_page(results: ComparisonResults, plots: Mapping[str, str]) -> str:
    """Write the whole report.

    Args:
        results: Results of the comparison.
        plots: File name of each plot, by its title.
    """
    comparison, metric = results.comparison, results.metric
    places = ", ".join(f"`{place}`" for place in comparison.places)
    blocks = ", ".join(v.label for v in comparison.variants[1:] if not v.is_control)
    lines = [f"# {Path(comparison.config.rpartition('::')[2]).stem}: {blocks}", ""]
    at = f"at each of {places} in turn" if comparison.grid else f"at {places}"
    lines += [f"The network of `{comparison.config}` with each block {at}, and without one."]
    lines += ["", "## Result", "", summary_table(results), "", *conclusions(results)]
    lines += ["", "## Controls", "", *controls(results)]
    lines += ["", "## Costs", "", cost_table(results)]
    for title, name in plots.items():
        lines += ["", f"![{title}]({name})"]
    for name in results.beside:
        lines += ["", f"## Beside: {name}", "", beside_table(results, name)]
    lines += ["", f"## {metric} of each seed", "", markdown_table(*seed_cells(results))]
    lines += ["", "## How it was measured", "", *method(results), *_untimed(results)]
    lines += ["", "## To repeat it", "", "```bash", *comparison.commands, "```", ""]
    return "\n".join([*lines, *facts(results)]) + "\n"


def summary_table(results: ComparisonResults) -> str:
    """Write the table of all variants: metric, difference to the base, verdict."""
    return markdown_table(*summary_cells(results))


def beside_cells(results: ComparisonResults, metric: str) -> Cells:
    """Return head and rows of a metric that is shown beside the one that is compared."""
    rows = []
    for row in results.rows:
        own = row.beside.get(metric)
        if own is not None:
            cells = [row.label, mean_cell(own, results.digits)]
            rows.append(cells + difference_cells(own.vs_base, results.digits))
    head = ["variant", f"{metric}, mean ± sd", "difference to none", "t 95 %", "images 95 %"]
    return head, rows


def beside_table(results: ComparisonResults, metric: str) -> str:
    """Write the table of a metric that is shown beside the one that is compared."""
    return markdown_table(*beside_cells(results, metric))


def cost_table(results: ComparisonResults) -> str:
    """Write the table of what each variant costs; the base's own, and what others add to it."""
    return markdown_table(*cost_cells(results))


def conclusions(results: ComparisonResults) -> list[str]:
    """Write what may be concluded, one sentence for each variant and each failure."""
    lines = [f"- {sentence}" for sentence in sentences(results)]
    lines += [
        f"- {row.label}, seed {seed}: no result, {reason}."
        for row in results.rows
        for seed, reason in row.failures.items()
    ]
    lines += [
        f"- {row.label} in equal time, seed {seed}: no result, {reason}."
        for row in results.rows
        for seed, reason in row.equal_time_failures.items()
    ]
    left_out = results.comparison.left_out.items()
    return lines + [f"- {label}: left out. {reason}" for label, reason in left_out]


def seed_cells(results: ComparisonResults) -> Cells:
    """Return head and rows: the metric of each seed, and its difference to the base."""
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
    return head, rows


def method(results: ComparisonResults) -> list[str]:
    """Write how everything was measured, a line of a list each."""
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
        "at the end. All variants train equally long, so data and schedule are equal. The schedule "
        "is the config's, scaled to this length.",
        "- Runs of one seed start from the same weights, except those of the block itself, see the "
        "same images in the same order with the same augmentation, and draw the same dropout "
        "masks. A wider host shares all but the weights of the layers that are wider; "
        f"{OTHER_SEEDS!r} shares nothing: its seeds are {SEED_OFFSET}, {SEED_OFFSET + 1}, …",
        f"- sd: standard deviation over {comparison.seeds} seeds (n - 1). Differences are between "
        "runs of the same seed.",
        "- t: paired t test over the seeds' differences, and its interval; the fewer seeds there "
        "are, the wider it is.",
    ]
    segmented = any(run.get("areas") for run in results.runs.values())
    counted = "the pixel counts" if segmented else "the matched detections"
    if any(row.vs_base is not None and row.vs_base.image_interval for row in results.rows):
        lines.append(
            "- images: validation images are drawn with replacement, the same ones for both "
            "networks and all seeds, and the mean difference of these runs is computed anew from "
            f"{counted}. The interval is the middle {LEVEL:.0%} of {DRAWS} draws."
        )
    else:
        lines.append("- This metric gives no counts for each image: images cannot be drawn.")
    lines += [
        "- p: the larger p value of both tests, corrected by Holm's method for the number of rows "
        "with a block; a control stands alone. higher, lower: p is below 0.05. within noise: "
        "anything else; the difference may be chance.",
        "- effect: Hedges' g, the mean difference in standard deviations of the differences, with "
        "its correction for few seeds.",
        f"- visible: the smallest true difference that these seeds would find with a chance of "
        f"{POWER:.0%}, by the noncentral t distribution and the measured standard deviation.",
        "- equal time: a variant whose training step is slower than the base's beyond noise is "
        "trained again, with as many steps as the base's time allows and the schedule scaled to "
        "them. For the others it is the same run.",
    ]
    costs = results.costs
    if costs["costs"]:
        image = " x ".join(map(str, costs["image"]))
        rounds = len(next(iter(costs["costs"].values()))["latency"])
        lines += [
            f"- FLOPs: of one forward pass at {image}, 2 per multiply-add; matrix products, "
            "convolutions and attention are counted, no means and no gates. Latency: of the same "
            "pass in eval mode, without post-processing (resizing to the image, decoding of boxes, "
            f"NMS){_proposals(results)}. Variants take turns, {rounds} rounds in one process; the "
            "difference is the median over the rounds, with its bootstrap interval. Exported: the "
            "ONNX file in onnxruntime on the CPU, minimum and median, in turn as well; "
            f"{costs.get('exported', 'not measured')}.",
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
        f"{label} seed {seed}{note}"
        for runs, note in ((results.runs, ""), (results.shorter, " in equal time"))
        for (label, seed), run in runs.items()
        if not run.get("step_seconds")
    ]
    if not names:
        return []
    return [
        f"- No seconds_per_step in runs.csv for {', '.join(names)}: stopped after the last step "
        "and evaluated by a later start, which took no step."
    ]


def facts(results: ComparisonResults) -> list[str]:
    """Write what was run where, a line of a list each."""
    comparison, data, runs = results.comparison, results.comparison.data, results.runs.values()
    values = {
        "commit of the runs": ", ".join(sorted({run["commit"] for run in runs})),
        "commit of times and memory": results.costs.get("commit", "not measured"),
        "threads of the runs": ", ".join(sorted({run["threads"] for run in runs})),
        "budget": f"{comparison.budget}, {comparison.iterations} iterations",
        "data": f"{data['class']} in {data['root'] or '(paths in the config)'}, "
        f"{data['train']} training and {data['val']} validation images, {data['classes']} classes",
        **results.machine,
    }
    return [f"- {name}: {value}" for name, value in values.items()]
