"""The report of a semantic segmentation run as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mmattn.palette import complete_palette
from mmattn.reports.curves import Curve, read_scalars, smoothed
from mmattn.reports.figure_style import COLOURS, legend_above, new_axes, plain_frame, svg_data_uri
from mmattn.reports.html import components as part
from mmattn.reports.html.page import Report
from mmattn.reports.number_formats import count, duration, percent, shape
from mmattn.reports.overlays import data_uri
from mmattn.reports.painter import Painter

from .run import SegmentationRun

_ORANGE = "#f59e0b"


def write_html_report(run: SegmentationRun, path: str | Path) -> Path:
    """Write ``run`` as one HTML file; sections without data are left out.

    Args:
        run: The run to report.
        path: File to write.
    """
    report = Report(run.title, run.summary)
    report.add(part.cards(_headline(run)))
    sections: dict[str, Callable[[SegmentationRun], list[str]]] = {
        "Predictions": _predictions,
        "IoU per class": _class_table,
        "Training": _curves,
        "Does the exported file compute the same?": _parity,
        "What was run": _steps,
        "Model and environment": _environment,
    }
    for title, section in sections.items():
        parts = section(run)
        if parts:
            report.section(title, *parts)
    report.footer = " ".join(run.notes)
    return report.write(path)


def _headline(run: SegmentationRun) -> list[tuple[str, str, str]]:
    """(label, value, note) of the results that a reader must not miss."""
    before = "" if run.untrained is None else f"untrained {run.untrained.mean:.1f} %"
    cards = [("mIoU, trained", f"{run.trained.mean:.1f} %", before)]
    if run.exported is not None:
        difference = f"{run.exported.mean - run.trained.mean:+.3f} against torch"
        cards.append((f"mIoU, {run.runtime}", f"{run.exported.mean:.1f} %", difference))
    if run.parity is not None:
        rows = run.parity["rows"]
        relative = [row["relative"] for row in rows if row["relative"] is not None]
        agreement = min(row["agreement"] for row in rows)
        largest = f"{max(relative):.1e}" if relative else "-"
        note = f"relative; same class {100 * agreement:.3f} %"
        cards.append(("largest logit difference", largest, note))
    if run.size is not None:
        note = f"{count(run.size.flops)}FLOPs at {shape(*run.size.input_shape[2:])}"
        cards.append(("parameters", count(run.size.parameters), note))
    seconds = [step.seconds for step in run.steps if step.seconds is not None]
    if seconds:
        cards.append(("whole run", duration(sum(seconds)), _cores(run)))
    elif run.training_minutes is not None:
        cards.append(("training", duration(60 * run.training_minutes), _cores(run)))
    return cards


def _cores(run: SegmentationRun) -> str:
    cores = run.environment.get("machine", {}).get("CPU cores")
    return f"on {cores} CPU core{'' if cores == '1' else 's'}" if cores else ""


def _predictions(run: SegmentationRun) -> list[str]:
    if not run.samples:
        return []
    painter = Painter.of(run.trained.classes, run.palette, opacity=0.62)
    with_exported = all(sample.exported is not None for sample in run.samples)
    head = ["image", "ground truth", "torch" if with_exported else "prediction"]
    head += [run.runtime] if with_exported else []
    rows = []
    for sample in run.samples:
        _, *painted = painter.tiles(sample.image, sample.predicted, sample.truth)
        if sample.exported is not None and with_exported:
            painted.append(painter.paint_prediction(sample.image, sample.exported, sample.truth))
        overlays = [data_uri(tile) for tile in painted]
        rows.append([data_uri(sample.image, jpeg_quality=92), *overlays])
    legend = painter.legend(range(len(run.trained.classes)), with_truth=True)
    return [
        part.paragraph("Validation images, none of them seen in training.", muted=True),
        part.legend(*zip(*legend, strict=True)),
        part.image_grid(head, rows),
    ]


def _class_table(run: SegmentationRun) -> list[str]:
    palette = complete_palette(run.palette, len(run.trained.classes))
    columns = {"trained, torch" if run.exported is not None else "trained": run.trained}
    if run.untrained is not None:
        columns = {"untrained": run.untrained, **columns}
    if run.exported is not None:
        columns[f"trained, {run.runtime}"] = run.exported

    def bar(trained: float, untrained: float | None) -> str:
        return part.bar(trained / 100, mark=None if untrained is None else untrained / 100)

    rows = [
        [
            part.swatch(palette[index], name),
            *(percent(ious.ious[index]) for ious in columns.values()),
            bar(
                run.trained.ious[index],
                None if run.untrained is None else run.untrained.ious[index],
            ),
        ]
        for index, name in enumerate(run.trained.classes)
    ]
    means = [percent(ious.mean) for ious in columns.values()]
    before = None if run.untrained is None else run.untrained.mean
    rows.append(["mean", *means, bar(run.trained.mean, before)])
    note = (
        f"Intersection over union in percent on {run.image_count}; "
        f"{run.trained.pixel_accuracy:.1f} % of all pixels are right."
    )
    if run.untrained is not None:
        note += " In the bars: blue is the trained network, the orange mark the untrained one."
    numbers = range(1, len(columns) + 1)
    return [
        part.paragraph(note, muted=True),
        part.table(("class", *columns, ""), rows, numbers=numbers, total=True),
    ]


def _curves(run: SegmentationRun) -> list[str]:
    if not run.scalars:
        return []
    training, validation = read_scalars(run.scalars)
    plots = []
    loss, miou = training.get("loss", []), validation.get("mIoU", [])
    if loss:
        plots.append([part.plot(_loss_plot(loss), "Training loss over iterations")])
    if miou:
        untrained = None if run.untrained is None else run.untrained.mean
        uri = _miou_plot(miou, untrained, run.validation_axis)
        plots.append([part.plot(uri, "Validation mIoU during training")])
    return [part.columns(*plots) if plots else part.paragraph("No values were recorded.")]


def _loss_plot(loss: Curve) -> str:
    axes = new_axes(5.4, 3.1, dpi=100)
    window = max(len(loss) // 12, 1)
    marker = "o" if len(loss) < 10 else None
    style = {"alpha": 0.35, "linewidth": 1} if window > 1 else {"linewidth": 2.2}
    axes.plot(*zip(*loss, strict=True), color=COLOURS[0], marker=marker, label="loss", **style)
    if window > 1:
        label = f"mean of {window} values"
        curve = smoothed(loss, window)
        axes.plot(*zip(*curve, strict=True), color=COLOURS[0], linewidth=2.2, label=label)
    return _finish(axes, "iteration", "loss")


def _miou_plot(miou: Curve, untrained: float | None, unit: str) -> str:
    axes = new_axes(5.4, 3.1, dpi=100)
    style = {"color": COLOURS[2], "marker": "o", "markerfacecolor": "white", "linewidth": 2.2}
    axes.plot(*zip(*miou, strict=True), label="mIoU", **style)
    if untrained is not None:
        axes.axhline(untrained, color=_ORANGE, linestyle="--", linewidth=2.2, label="untrained")
    return _finish(axes, unit, "validation mIoU, %")


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


def _parity(run: SegmentationRun) -> list[str]:
    parity = run.parity
    if parity is None:
        return []
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
    intro = ""
    if run.file_bytes is not None and run.runtime == "onnxruntime":
        intro = f"The file holds standard ONNX operators only ({count(run.file_bytes)}B). "
    intro += (
        f"torch and {parity['runtime']} ran on the same images. Limits: logits within "
        f"{parity['tolerance']:g} of the largest logit, the same class for "
        f"{100 * parity['min_agreement']:g} % of the pixels."
    )
    head = ("size", "input", "images", "largest |difference|", "relative", "same class", "")
    return [
        part.paragraph(intro, muted=True),
        part.table(head, rows, numbers=(2, 3, 4, 5)),
        *(part.paragraph(note) for note in parity["notes"]),
    ]


def _steps(run: SegmentationRun) -> list[str]:
    if not run.steps:
        return []
    entries = [
        (step.title, "" if step.seconds is None else duration(step.seconds), step.command)
        for step in run.steps
    ]
    intro = "Each command can be typed as it stands, from the root of the repository."
    return [part.paragraph(intro, muted=True), part.steps(entries)]


def _environment(run: SegmentationRun) -> list[str]:
    model: dict[str, str] = {}
    if run.size is not None:
        model["parameters"] = f"{run.size.parameters:,}"
        model["forward pass"] = f"{run.size.flops / 1e9:.3f} GFLOPs (2 per multiply-add)"
        model["measured at"] = shape(*run.size.input_shape)
    if run.file_bytes is not None:
        model["exported file"] = f"{count(run.file_bytes)}B"
    tables = {"model": model, **run.environment}
    versions = tables.pop("versions", {})
    groups = [
        [part.heading(name) + part.facts(values) for name, values in tables.items() if values],
        [part.heading("versions") + part.facts(versions)] if versions else [],
    ]
    groups = [group for group in groups if group]
    return [part.columns(*groups)] if groups else []
