"""The report of a semantic segmentation run as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from mmattn.palette import complete_palette
from mmattn.reports.html import components as part
from mmattn.reports.html.page import Report
from mmattn.reports.html.run_sections import (
    cost_cards,
    environment_section,
    parity_table,
    steps_section,
    training_section,
)
from mmattn.reports.number_formats import file_size, percent
from mmattn.reports.overlays import colour_map, data_uri
from mmattn.reports.painter import Painter

from .run import SegmentationRun


def write_html_report(
    run: SegmentationRun,
    path: str | Path,
    *,
    maps_only: bool = False,
    more: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Path:
    """Write ``run`` as one HTML file; sections without data are left out.

    Args:
        run: The run to report.
        path: File to write.
        maps_only: Whether to show predictions without their images and ground truth, for a dataset
            that may not be passed on.
        more: Title of a further section -> its parts; they come before what was run.
    """
    report = Report(run.title, run.summary)
    report.add(part.cards(_headline(run)))
    sections: dict[str, Callable[[SegmentationRun], list[str]]] = {
        "Predictions": lambda run: _predictions(run, maps_only),
        "IoU per class": _class_table,
        "Training": _curves,
        "Does the exported file compute the same?": _parity,
        **{title: lambda run, parts=parts: list(parts) for title, parts in more.items()},
        "What was run": steps_section,
        "Model and environment": lambda run: environment_section(run, _exported_file(run)),
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
    return cards + cost_cards(run)


def _exported_file(run: SegmentationRun) -> dict[str, str]:
    return {} if run.file_bytes is None else {"exported file": f"{file_size(run.file_bytes)}"}


def _predictions(run: SegmentationRun, maps_only: bool) -> list[str]:
    if not run.samples:
        return []
    painter = Painter.of(run.trained.classes, run.palette, opacity=0.62)
    with_exported = all(sample.exported is not None for sample in run.samples)
    head = ["torch", run.runtime] if with_exported else ["prediction"]
    head = head if maps_only else ["image", "ground truth", *head]
    rows = []
    for sample in run.samples:
        maps = [sample.predicted, *([sample.exported] if with_exported else [])]
        if maps_only:
            rows.append([data_uri(colour_map(classes, painter.palette)) for classes in maps])
            continue
        _, *painted = painter.tiles(sample.image, sample.predicted, sample.truth)
        for classes in maps[1:]:
            painted.append(painter.paint_prediction(sample.image, classes, sample.truth))
        overlays = [data_uri(tile) for tile in painted]
        rows.append([data_uri(sample.image, jpeg_quality=92), *overlays])
    legend = painter.legend(range(len(run.trained.classes)), with_truth=not maps_only)
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
    return training_section(
        run,
        lambda validation: {"mIoU": validation["mIoU"]} if validation.get("mIoU") else {},
        "validation mIoU, %",
        "Validation mIoU during training",
        untrained=None if run.untrained is None else run.untrained.mean,
    )


def _parity(run: SegmentationRun) -> list[str]:
    parity = run.parity
    if parity is None:
        return []
    intro = ""
    if run.file_bytes is not None and run.runtime == "onnxruntime":
        intro = f"The file holds standard ONNX operators only ({file_size(run.file_bytes)}). "
    intro += (
        f"torch and {parity['runtime']} ran on the same images. Limits: logits within "
        f"{parity['tolerance']:g} of the largest logit, the same class for "
        f"{100 * parity['min_agreement']:g} % of the pixels."
    )
    return [part.paragraph(intro, muted=True), *parity_table(parity)]
