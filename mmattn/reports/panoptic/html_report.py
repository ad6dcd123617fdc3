"""The report of a panoptic run as one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

from mmattn.reports.detection.html_report import add_sections
from mmattn.reports.figure_style import svg_data_uri
from mmattn.reports.html import components as part
from mmattn.reports.html.page import Report
from mmattn.reports.html.run_sections import (
    cost_cards,
    environment_section,
    steps_section,
    training_section,
)
from mmattn.reports.overlays import data_uri

from .figures import FIGURES
from .numbers import PanopticNumbers
from .run import PanopticRun, table_note, table_rows, validation_curves
from .segment_painter import TILES, describe, draw_tiles


def write_html_report(run: PanopticRun, path: str | Path, *, maps_only: bool = False) -> Path:
    """Write ``run`` as one HTML file; sections without data are left out.

    Args:
        run: The run to report.
        path: File to write.
        maps_only: Whether to paint segments without their images, for a dataset that may not be
            passed on.
    """
    report = Report(run.title, run.summary)
    report.add(part.cards(_headline(run)))
    numbers = run.numbers
    report.section(f"Panoptic quality per class on {run.image_count}", *_table(numbers))
    report.section("Quality and segments", part.columns(*(_plot(numbers, n) for n in FIGURES)))
    if numbers.worst:
        report.section("Worst images", *_worst(numbers, maps_only))
    for instances in run.instances.values():
        add_sections(report, instances, run.image_count, maps_only)
    for title, parts in {
        "Training": training_section(
            run, validation_curves, "validation, %", "Panoptic quality during training"
        ),
        "What was run": steps_section(run),
        "Model and environment": environment_section(run),
    }.items():
        if parts:
            report.section(title, *parts)
    report.footer = " ".join(run.notes)
    return report.write(path)


def _headline(run: PanopticRun) -> list[tuple[str, str, str]]:
    numbers = run.numbers
    notes = [
        f"{name} {100 * numbers.value('PQ', name):.1f}"
        for name in ("things", "stuff")
        if numbers.value("PQ", name) == numbers.value("PQ", name)
    ]
    if "PQ" in numbers.intervals:
        low, high = (100 * end for end in numbers.intervals["PQ"])
        notes.append(f"95 %: {low:.1f} to {high:.1f}")
    cards = [("PQ", _percent(numbers.value("PQ")), "; ".join(notes))]
    for label, column in (("boundary PQ", "bPQ"), ("mIoU", "IoU")):
        if column in numbers.columns:
            cards.append((label, _percent(numbers.value(column)), ""))
    return cards + cost_cards(run)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if value == value else "-"


def _table(numbers: PanopticNumbers) -> list[str]:
    column = numbers.columns.index("PQ")
    values = [
        *numbers.table[:, column],
        *(numbers.groups[name][column] for name in ("things", "stuff", "all")),
    ]
    rows = [
        [*cells, part.bar(float(value))]
        for cells, value in zip(table_rows(numbers), values, strict=True)
    ]
    for row, colour in zip(rows, numbers.palette, strict=False):
        row[0] = part.swatch(colour, row[0])
    head = ("class", *numbers.columns, "PQ")
    return [
        part.paragraph(table_note(numbers), muted=True),
        part.table(head, rows, numbers=range(1, len(numbers.columns) + 1), total=True),
    ]


def _plot(numbers: PanopticNumbers, name: str) -> list[str]:
    description, draw = FIGURES[name]
    return [part.heading(description), part.plot(svg_data_uri(draw(numbers)), description)]


def _worst(numbers: PanopticNumbers, maps_only: bool) -> list[str]:
    note = (
        "The lowest panoptic quality. Of the outcome, green are matched segments, yellow missed "
        "ones, magenta false ones."
    )
    parts: list[str] = [part.paragraph(note, muted=True)]
    present: set[int] = set()
    for image in numbers.worst:
        present |= {*image.truth.labels.tolist(), *image.predicted.labels.tolist()}
    labels = sorted(present)
    parts.append(
        part.legend([numbers.classes[i] for i in labels], [numbers.palette[i] for i in labels])
    )
    for image in numbers.worst:
        tiles = draw_tiles(image, numbers, with_image=not maps_only)
        rows = [[data_uri(tile, jpeg_quality=90) for tile in tiles]]
        parts += [part.heading(describe(image)), part.image_grid(TILES, rows)]
    return parts
