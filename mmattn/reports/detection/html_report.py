"""The report of a detection run as one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

from mmattn.reports.figure_style import svg_data_uri
from mmattn.reports.html import components as part
from mmattn.reports.html.page import Report
from mmattn.reports.html.run_sections import (
    cost_cards,
    environment_section,
    parity_table,
    steps_section,
    training_section,
)
from mmattn.reports.number_formats import file_size
from mmattn.reports.overlays import data_uri

from .box_painter import describe, draw_tiles
from .figures import FIGURES
from .numbers import SHAPES, DetectionNumbers
from .run import DetectionRun, exported_rows, table_note, table_rows, validation_curves


def write_html_report(run: DetectionRun, path: str | Path, *, maps_only: bool = False) -> Path:
    """Write ``run`` as one HTML file; sections without data are left out.

    Args:
        run: The run to report.
        path: File to write.
        maps_only: Whether to draw boxes without their images, for a dataset that may not be passed
            on.
    """
    report = Report(run.title, run.summary)
    report.add(part.cards(_headline(run)))
    for numbers in run.numbers.values():
        add_sections(report, numbers, run.image_count, maps_only)
    for title, parts in {
        "Training": training_section(
            run, validation_curves, "validation, fraction", "Validation AP during training"
        ),
        "Does the exported file detect the same?": _exported(run),
        "What was run": steps_section(run),
        "Model and environment": environment_section(run, _exported_file(run)),
    }.items():
        if parts:
            report.section(title, *parts)
    report.footer = " ".join(run.notes)
    return report.write(path)


def add_sections(
    report: Report, numbers: DetectionNumbers, image_count: str, maps_only: bool
) -> None:
    """Add the sections of boxes, masks or outlines to a page.

    Args:
        report: The page.
        numbers: Numbers of one evaluation.
        image_count: Number of images with its noun.
        maps_only: Whether to draw without the images.
    """
    shape = SHAPES[numbers.iou_type]
    report.section(f"Results per class: {shape} on {image_count}", *_table(numbers))
    report.section(f"Precision, recall and confidence: {shape}", *_curves(numbers))
    report.section(f"Where objects are lost: {shape}", *_losses(numbers))
    if numbers.worst:
        report.section(f"Worst images: {shape}", *_worst(numbers, maps_only))


def _headline(run: DetectionRun) -> list[tuple[str, str, str]]:
    cards = []
    for iou_type, numbers in run.numbers.items():
        ap, ap50 = 100 * numbers.value("AP"), 100 * numbers.value("AP50")
        note = f"AP50 {ap50:.1f} %"
        if "mAP" in numbers.intervals:
            low, high = (100 * end for end in numbers.intervals["mAP"])
            note += f"; 95 %: {low:.1f} to {high:.1f}"
        cards.append((f"AP, {SHAPES[iou_type]}", f"{ap:.1f} %" if ap == ap else "-", note))
        _, rows = exported_rows(run, iou_type)
        if run.exported is not None and rows:
            in_torch, in_file = rows[-1][1:3]
            name = f"AP, {run.exported.runtime}"
            cards.append((name, f"{in_file} %", f"{in_torch} % in torch"))
    return cards + cost_cards(run)


def _exported_file(run: DetectionRun) -> dict[str, str]:
    if run.exported is None:
        return {}
    return {"exported file": f"{run.exported.file}, {file_size(run.exported.file_bytes)}"}


def _exported(run: DetectionRun) -> list[str]:
    if run.exported is None:
        return []
    parity = run.exported.parity
    note = (
        f"torch and {parity['runtime']} ran on {run.image_count}; AP in percent. Below is what the "
        f"export found. Limits: raw outputs within {parity['tolerance']:g} of the largest, "
        f"{parity.get('agreement_title', 'agreement')} for {100 * parity['min_agreement']:g} %."
    )
    parts = [part.paragraph(note, muted=True)]
    for iou_type in run.numbers:
        titles, rows = exported_rows(run, iou_type)
        if rows:
            parts.append(part.table(titles, rows, numbers=range(1, len(titles)), total=True))
    return [*parts, *parity_table(parity)]


def _table(numbers: DetectionNumbers) -> list[str]:
    column = numbers.columns.index("AP")
    values = [*numbers.table[:, column], numbers.overall[column]]
    rows = [
        [*cells, part.bar(float(value))]
        for cells, value in zip(table_rows(numbers), values, strict=True)
    ]
    head = ("class", *numbers.columns, "AP")
    return [
        part.paragraph(table_note(numbers), muted=True),
        part.table(head, rows, numbers=range(1, len(numbers.columns) + 1), total=True),
    ]


def _plot(numbers: DetectionNumbers, name: str) -> list[str]:
    description, draw = FIGURES[name]
    return [part.heading(description), part.plot(svg_data_uri(draw(numbers)), description)]


def _curves(numbers: DetectionNumbers) -> list[str]:
    return [part.columns(_plot(numbers, "precision_recall"), _plot(numbers, "f1"))]


def _losses(numbers: DetectionNumbers) -> list[str]:
    note = (
        "Types of errors as in TIDE (arXiv:2008.08115): the gain of AP50 if the errors of one type "
        "alone were mended; in brackets their number. The gains do not add up."
    )
    right = [*_plot(numbers, "errors"), *_plot(numbers, "sizes")]
    return [part.paragraph(note, muted=True), part.columns(_plot(numbers, "confusion"), right)]


def _worst(numbers: DetectionNumbers, maps_only: bool) -> list[str]:
    note = (
        f"The lowest F1 at IoU 0.5 and confidence {numbers.confidence:.3f}. Green is right, dashed "
        "yellow a missed object, doubled magenta a false detection."
    )
    parts: list[str] = [part.paragraph(note, muted=True)]
    for image in numbers.worst:
        tiles = draw_tiles(image, numbers.classes, with_image=not maps_only)
        rows = [[data_uri(tile, jpeg_quality=90) for tile in tiles]]
        parts += [
            part.heading(describe(image)),
            part.image_grid(("ground truth", "detections"), rows),
        ]
    return parts
