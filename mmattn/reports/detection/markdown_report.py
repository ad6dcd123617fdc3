"""The report of a detection run as a Markdown page, small enough to be committed."""

from __future__ import annotations

from pathlib import Path

from mmattn.reports.figure_style import save_png
from mmattn.reports.markdown_sections import environment, head, parity_table, training, write_page
from mmattn.reports.number_formats import file_size
from mmattn.reports.overlays import save_image
from mmattn.tables import markdown_table

from .box_painter import draw_sheet
from .figures import FIGURES
from .numbers import SHAPES, DetectionNumbers
from .run import DetectionRun, exported_rows, table_note, table_rows


def write_markdown_report(
    run: DetectionRun, folder: str | Path, *, maps_only: bool = False
) -> Path:
    """Write ``README.md`` and what it shows; sections without data are left out.

    Args:
        run: The run to report.
        folder: Folder of the page, its plots, ``worst_bbox.jpg``, ``detection_bbox.json`` and, with
            an exported file, ``parity.json``.
        maps_only: Whether to draw boxes without their images, for a dataset that may not be passed
            on.

    Returns:
        The page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sections = [head(run)]
    for numbers in run.numbers.values():
        sections += sections_of(numbers, run.image_count, folder, maps_only)
    sections += [
        training(run, folder),
        _exported(run, folder),
        environment(run.environment),
        list(run.notes),
    ]
    return write_page(sections, folder)


def sections_of(
    numbers: DetectionNumbers, image_count: str, folder: Path, maps_only: bool
) -> list[list[str]]:
    """Write the sections of boxes, masks or outlines, and the files that they show.

    Args:
        numbers: Numbers of one evaluation.
        image_count: Number of images with its noun.
        folder: Folder of the page.
        maps_only: Whether to draw without the images.
    """
    numbers.write_json(folder / f"detection_{numbers.iou_type}.json")
    return [
        _table(numbers, image_count),
        _plots(numbers, folder),
        _worst(numbers, folder, maps_only),
    ]


def _table(numbers: DetectionNumbers, image_count: str) -> list[str]:
    *rows, last = table_rows(numbers)
    rows.append([f"**{last[0]}**", *last[1:]])
    return [
        f"## Results per class: {SHAPES[numbers.iou_type]} on {image_count}",
        markdown_table(["class", *numbers.columns], rows, align="l" + "r" * len(numbers.columns)),
        table_note(numbers),
    ]


def _exported(run: DetectionRun, folder: Path) -> list[str]:
    if run.exported is None:
        return []
    parts = [
        f"## The exported file against torch, on {run.image_count}",
        f"`{run.exported.file}`, {file_size(run.exported.file_bytes)}, in "
        f"{run.exported.parity['runtime']}; in percent.",
    ]
    for iou_type in run.numbers:
        titles, rows = exported_rows(run, iou_type)
        if not rows:
            continue
        rows[-1][0] = f"**{rows[-1][0]}**"
        parts.append(markdown_table(titles, rows, align="l" + "r" * (len(titles) - 1)))
    return [*parts, *parity_table(run.exported.parity, folder)]


def _plots(numbers: DetectionNumbers, folder: Path) -> list[str]:
    parts = [f"## Curves and errors: {SHAPES[numbers.iou_type]}"]
    for name, (description, draw) in FIGURES.items():
        file = f"{name}_{numbers.iou_type}.png"
        save_png(draw(numbers), folder / file)
        parts.append(f"![{description}]({file})")
    rows = [
        [name, count, f"{100 * gain:+.1f}" if gain == gain else "-"]
        for name, (count, gain) in numbers.errors.items()
    ]
    head_line = ["error", "number", "points of AP50 if mended"]
    note = (
        "Types of errors as in TIDE (arXiv:2008.08115), each mended alone; the gains do not add up."
    )
    return [*parts, markdown_table(head_line, rows, align="lrr"), note]


def _worst(numbers: DetectionNumbers, folder: Path, maps_only: bool) -> list[str]:
    if not numbers.worst:
        return []
    sheet = draw_sheet(numbers, with_images=not maps_only)
    name = f"worst_{numbers.iou_type}.jpg"
    save_image(sheet, folder / name, jpeg_quality=85)
    return [f"## Worst images: {SHAPES[numbers.iou_type]}", f"![worst images]({name})"]
