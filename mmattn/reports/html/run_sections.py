"""Sections of a page that reports of every task have: cost, curves, commands, environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from mmattn.reports.curves import Curve, read_scalars, smoothed
from mmattn.reports.figure_style import COLOURS, legend_above, new_axes, plain_frame, svg_data_uri
from mmattn.reports.number_formats import count, duration, shape
from mmattn.reports.run import Run

from . import components as part

_ORANGE = "#f59e0b"


def cost_cards(run: Run) -> list[tuple[str, str, str]]:
    """Return (label, value, note) of parameters and time."""
    cards = []
    if run.size is not None:
        note = f"{count(run.size.flops)}FLOPs at {shape(*run.size.input_shape[2:])}"
        cards.append(("parameters", count(run.size.parameters), note))
    seconds = [step.seconds for step in run.steps if step.seconds is not None]
    if seconds:
        cards.append(("whole run", duration(sum(seconds)), _cores(run)))
    elif run.training_minutes is not None:
        cards.append(("training", duration(60 * run.training_minutes), _cores(run)))
    return cards


def _cores(run: Run) -> str:
    cores = run.environment.get("machine", {}).get("CPU cores")
    return f"on {cores} CPU core{'' if cores == '1' else 's'}" if cores else ""


def loss_plot(loss: Curve) -> str:
    """Draw a loss over iterations, smoothed where it has many values; returns a data URI."""
    axes = new_axes(5.4, 3.1, dpi=100)
    window = max(len(loss) // 12, 1)
    marker = "o" if len(loss) < 10 else None
    style: dict[str, Any] = {"alpha": 0.35, "linewidth": 1} if window > 1 else {"linewidth": 2.2}
    axes.plot(*zip(*loss, strict=True), color=COLOURS[0], marker=marker, label="loss", **style)
    if window > 1:
        label = f"mean of {window} values"
        curve = smoothed(loss, window)
        axes.plot(*zip(*curve, strict=True), color=COLOURS[0], linewidth=2.2, label=label)
    return _finish(axes, "iteration", "loss")


def metric_plot(
    curves: Mapping[str, Curve], unit: str, y_label: str, *, untrained: float | None = None
) -> str:
    """Draw results of the validations during a training; returns a data URI.

    Args:
        curves: Name of a result -> its values.
        unit: Unit of a validation step.
        y_label: Label of the values.
        untrained: Result of the network before training.
    """
    axes = new_axes(5.4, 3.1, dpi=100)
    style: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "linewidth": 2.2}
    colours = (COLOURS[2], COLOURS[0], COLOURS[1], *COLOURS[3:])
    for (name, curve), colour in zip(curves.items(), colours, strict=False):
        axes.plot(*zip(*curve, strict=True), label=name, color=colour, **style)
    if untrained is not None:
        axes.axhline(untrained, color=_ORANGE, linestyle="--", linewidth=2.2, label="untrained")
    return _finish(axes, unit, y_label)


def training_section(
    run: Run,
    choose: Callable[[Mapping[str, Curve]], Mapping[str, Curve]],
    y_label: str,
    alt_text: str,
    *,
    untrained: float | None = None,
) -> list[str]:
    """Draw the loss and the results of the validations of a training.

    Args:
        run: The run.
        choose: Function of all curves of the validations that returns those to draw, by title.
        y_label: Label of their values.
        alt_text: What their plot shows.
        untrained: Result of the network before training.
    """
    if not run.scalars:
        return []
    training, validation = read_scalars(run.scalars)
    plots = []
    if training.get("loss"):
        plots.append([part.plot(loss_plot(training["loss"]), "Training loss over iterations")])
    curves = choose(validation)
    if curves:
        uri = metric_plot(curves, run.validation_axis, y_label, untrained=untrained)
        plots.append([part.plot(uri, alt_text)])
    return [part.columns(*plots) if plots else part.paragraph("No values were recorded.")]


def _finish(axes, x_label: str, y_label: str) -> str:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.get_ylim()[0] > 0:
        axes.set_ylim(bottom=0)
    plain_frame(axes)
    legend_above(axes)
    return svg_data_uri(axes)


def parity_table(parity: Mapping[str, Any]) -> list[str]:
    """Write the content of ``parity.json``: a row for each size that was checked, and its notes."""
    rows = []
    for row in parity["rows"]:
        near = row["relative"] is None or row["relative"] <= parity["tolerance"]
        passes = near and row["agreement"] >= parity["min_agreement"]
        verdict = '<span class="ok">ok</span>' if passes else '<span class="bad">fails</span>'
        rows.append(
            [
                row["name"],
                shape(row["batch"], 3, row["height"], row["width"]),
                row["images"],
                "-" if row["max_difference"] is None else f"{row['max_difference']:.1e}",
                "-" if row["relative"] is None else f"{row['relative']:.1e}",
                f"{100 * row['agreement']:.4f} %",
                part.Html(verdict),
            ]
        )
    agreement = parity.get("agreement_title", "same class")
    head = ("size", "input", "images", "largest |difference|", "relative", agreement, "")
    return [
        part.table(head, rows, numbers=(2, 3, 4, 5)),
        *(part.paragraph(note) for note in parity["notes"]),
    ]


def steps_section(run: Run) -> list[str]:
    """Write what was run, with its commands and times."""
    if not run.steps:
        return []
    entries = [
        (step.title, "" if step.seconds is None else duration(step.seconds), step.command)
        for step in run.steps
    ]
    intro = "Each command can be typed as it stands, from the root of the repository."
    return [part.paragraph(intro, muted=True), part.steps(entries)]


def environment_section(run: Run, facts: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Write the size of the model, further ``facts`` about it, and the machine and versions."""
    model: dict[str, str] = {}
    if run.size is not None:
        model["parameters"] = f"{run.size.parameters:,}"
        model["forward pass"] = f"{run.size.flops / 1e9:.3f} GFLOPs (2 per multiply-add)"
        model["measured at"] = shape(*run.size.input_shape)
    model |= facts
    return environment_columns({"model": model, **run.environment})


def environment_columns(tables: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write tables of facts below each other, and that of ``versions`` beside them."""
    written = {
        name: [part.heading(name), part.facts(values)] for name, values in tables.items() if values
    }
    right = written.pop("versions", [])
    left = [html for parts in written.values() for html in parts]
    groups = [group for group in (left, right) if group]
    return [part.columns(*groups)] if groups else []
