"""Sections about one evaluation: results per class, curves, confusion, calibration, images."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmattn.reports.html import components as part
from mmattn.reports.html.charts import NUM_COLOURS, Line, line_chart
from mmattn.reports.html.components import Html

from .left import Start, Table, read_json, read_tables
from .pictures import picture

#: Rows of a table beyond which the rest is folded.
_ROWS = 40
#: Classes beyond which a matrix cannot be read as a table; its picture is shown.
_MATRIX = 25
_SHAPES = {"bbox": "boxes", "segm": "masks", "boundary": "outlines"}
Section = tuple[str, list[Html]]


def evaluation_sections(start: Start, split: str) -> list[Section]:
    """Write the sections of the last evaluation of a split.

    Args:
        start: Start that evaluated it.
        split: ``val`` or ``test``.

    Returns:
        Titles and parts; those without data are left out.
    """
    folder = start.folder / "vis_data"
    sections: list[Section] = [("Results per class", _tables(read_tables(start.folder, split)))]
    shown: set[str] = set()
    for file in sorted(folder.glob(f"detection_*{split}.json")):
        kind = file.stem.removeprefix("detection_").removesuffix(f"_{split}")
        numbers = read_json(file)
        shape = _SHAPES.get(kind.rpartition("_")[2], kind)
        picture_of = {name: folder / f"{name}_{kind}_{split}.png" for name in _DETECTION}
        shown |= {file.name for file in picture_of.values()}
        sections += _detection(numbers, shape, picture_of)
    sections += _confusion(folder, split, shown)
    sections += _calibration(folder, split)
    sections += _images(folder, split, shown)
    sections += _other_plots(folder, split, shown)
    return [(title, parts) for title, parts in sections if parts]


def _tables(tables: Sequence[Table]) -> list[Html]:
    parts: list[Html] = []
    for table in tables:
        parts.append(part.heading(table.title))
        rows = [[name, *map(_number, values)] for name, values in table.rows.items()]
        # The value with the bar: IoU of pixels, AP of objects.
        chosen = next((c for c in ("IoU", "AP", "PQ") if c in table.columns), table.columns[0])
        place = table.columns.index(chosen)
        largest = max((v[place] for v in table.rows.values() if v[place] == v[place]), default=0)
        whole = 1.0 if largest <= 1 else 100.0
        for row, values in zip(rows, table.rows.values(), strict=True):
            row.append(part.bar(values[place] / whole))
        head = ("class", *table.columns, chosen)
        numbers = range(1, len(table.columns) + 1)
        if len(rows) <= _ROWS + 1:
            parts.append(part.table(head, rows, numbers=numbers, total=True))
            continue
        parts.append(part.table(head, rows[-1:], numbers=numbers, total=True))
        every = part.table(head, rows, numbers=numbers, total=True)
        parts.append(part.folded(f"all {len(rows) - 1} classes", every))
    return parts


def _number(value: float) -> str:
    if value != value:
        return "-"
    return f"{value:.0f}" if value == int(value) and abs(value) >= 1 else f"{value:.4g}"


_DETECTION = ("precision_recall", "f1", "confusion", "sizes", "errors")


def _detection(
    numbers: Mapping[str, Any], shape: str, pictures: Mapping[str, Path]
) -> Iterator[Section]:
    """Write curves and counts of a detector from the JSON of its evaluation."""
    if not numbers:
        return
    confidence = numbers.get("confidence_of_best_mean_f1")
    yield (
        f"Precision, recall and confidence: {shape}",
        [
            part.columns(
                [
                    part.heading("Precision over recall at IoU 0.5"),
                    _class_lines(numbers, "precision_at_recall", "recall", "precision"),
                ],
                [
                    part.heading("F1 over confidence"),
                    _class_lines(numbers, "f1_at_confidence", "confidence", "F1"),
                ],
            ),
            *_best_confidence(confidence),
        ],
    )
    names = [*numbers.get("classes", {}), "background"]
    counts = (numbers.get("confusion") or {}).get("counts") or []
    if len(names) <= _MATRIX and len(counts) == len(names):
        said = "Rows: objects; columns: detected as; percent of the row, with counts on hovering."
        parts: list[Html] = [part.matrix(names, counts, said)]
    else:
        parts = picture(pictures["confusion"], f"Confusion matrix of {len(names) - 1} classes")
    if parts:
        yield f"Confusion: {shape}", parts
    parts = _sizes(numbers.get("sizes") or {}) + _errors(numbers)
    if parts:
        yield f"Where objects are lost: {shape}", parts


def _best_confidence(confidence: float | None) -> list[Html]:
    if confidence is None:
        return []
    text = f"The mean F1 is best at a confidence of {confidence:.3f}."
    return [part.paragraph(text, muted=True)]


def _class_lines(numbers: Mapping[str, Any], key: str, x: str, y: str) -> Html:
    curves = dict(numbers.get(key) or {})
    xs = curves.pop(x, [])
    drawn = {
        name: [(a, b) for a, b in zip(xs, ys, strict=False) if b is not None]
        for name, ys in curves.items()
    }
    drawn = {name: points for name, points in drawn.items() if points}
    named = len(drawn) <= NUM_COLOURS
    lines = [
        Line(name if named else "", points, None if named else 0, faint=not named)
        for name, points in drawn.items()
    ]
    if len(drawn) > 1:
        columns = zip(*drawn.values(), strict=False)
        mean = [(column[0][0], sum(v for _, v in column) / len(column)) for column in columns]
        lines.append(Line("mean", mean, None if named else 1, dashed=True))
    return line_chart(
        lines,
        x_label=x,
        y_label=y,
        description=f"{y} over {x} of {len(drawn)} classes",
        y_range=(0.0, 1.0),
    )


def _sizes(sizes: Mapping[str, Any]) -> list[Html]:
    edges = sizes.get("square_root_of_area_from") or []
    groups = [sizes.get(name) or [] for name in ("found", "found_below_the_confidence", "missed")]
    rows = []
    for place, counts in enumerate(zip(*groups, strict=False)):
        if not sum(counts):
            continue
        end = f" to {edges[place + 1]}" if place + 1 < len(edges) else " and more"
        found, below, _ = counts
        shown = f"{found} of {sum(counts)}" + (f", {below} with less confidence" if below else "")
        rows.append((f"{edges[place]}{end}", found / sum(counts), shown))
    if not rows:
        return []
    said = "Objects found, by size: the square root of the area in pixels."
    return [part.heading("Found by size"), part.paragraph(said, muted=True), part.bars(rows)]


def _errors(numbers: Mapping[str, Any]) -> list[Html]:
    rows = [
        (f"{name} ({entry['count']})", 100 * (entry["gain_of_AP50"] or 0.0))
        for name, entry in (numbers.get("errors") or {}).items()
    ]
    for name in ("false_positives", "false_negatives"):
        gain = numbers.get(f"gain_of_AP50_without_{name}")
        rows.append((f"all {name.replace('_', ' ')}", 100 * (gain or 0.0)))
    if not any(gain for _, gain in rows):
        return []
    said = (
        "Points of AP50 that would be gained if the errors of one type alone were mended, as in "
        "TIDE (arXiv:2008.08115). They do not add up."
    )
    lines = [(name, max(gain, 0.0), f"{gain:+.1f}") for name, gain in rows]
    heading = part.heading("Cost of each type of error")
    return [heading, part.paragraph(said, muted=True), part.bars(lines)]


def _confusion(folder: Path, split: str, shown: set[str]) -> Iterator[Section]:
    """Write the confusion matrices of segmentation."""
    for file in sorted(folder.glob(f"confusion_*{split}.csv")):
        image = file.with_suffix(".png")
        shown.add(image.name)
        with file.open(newline="", encoding="utf-8") as lines:
            head, *rows = csv.reader(lines)
        names = head[1:]
        prefix = file.stem.removeprefix("confusion_").removesuffix(split).strip("_")
        title = f"Confusion: {prefix}" if prefix else "Confusion"
        if len(names) <= _MATRIX:
            counts = [[float(cell) for cell in row[1:]] for row in rows]
            said = "Rows: labelled; columns: predicted; percent of the row's pixels."
            yield title, [part.matrix(names, counts, said)]
        else:
            yield title, picture(image, f"Confusion matrix of {len(names)} classes")


def _calibration(folder: Path, split: str) -> Iterator[Section]:
    for file in sorted(folder.glob(f"calibration_*{split}.json")):
        bins = [one for one in read_json(file).get("bins", ()) if one["share"]]
        if not bins:
            continue
        points = [(one["confidence"], one["accuracy"]) for one in bins]
        chart = line_chart(
            [Line("measured", points), Line("perfect", [(0, 0), (1, 1)], dashed=True)],
            x_label="mean confidence of a bin",
            y_label="share of right pixels",
            description="Accuracy over confidence",
            y_range=(0.0, 1.0),
        )
        rows = [
            (f"{one['from']:.2f} to {one['to']:.2f}", one["share"], f"{100 * one['share']:.1f} %")
            for one in bins
        ]
        below = "Below the dashed line the network is too sure of itself."
        left = [part.paragraph(below, muted=True), chart]
        yield (
            "Calibration",
            [part.columns(left, [part.heading("Pixels by confidence"), part.bars(rows)])],
        )


def _images(folder: Path, split: str, shown: set[str]) -> Iterator[Section]:
    for which, said in (("worst", "Worst images"), ("best", "Best images")):
        parts: list[Html] = []
        for file in sorted(folder.glob(f"{which}_*{split}.png")):
            shown.add(file.name)
            parts += picture(
                file, f"{said} of the last evaluation: ground truth beside the prediction"
            )
        yield said, parts


def _other_plots(folder: Path, split: str, shown: set[str]) -> Iterator[Section]:
    """Show what other metrics drew, such as that of panoptic segmentation."""
    parts: list[Html] = []
    for file in sorted(folder.glob(f"*_{split}.png")):
        if file.name not in shown:
            name = file.stem.removesuffix(f"_{split}").replace("_", " ")
            parts += picture(file, f"Plot of the last evaluation: {name}", name)
    yield "More plots of the evaluation", parts
