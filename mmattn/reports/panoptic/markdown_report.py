"""The report of a panoptic run as a Markdown page, small enough to be committed."""

from __future__ import annotations

from pathlib import Path

from mmattn.reports.detection.markdown_report import sections_of
from mmattn.reports.figure_style import save_png
from mmattn.reports.markdown_sections import environment, head, training, write_page
from mmattn.reports.overlays import save_image
from mmattn.tables import markdown_table

from .figures import FIGURES
from .numbers import PanopticNumbers
from .run import PanopticRun, table_note, table_rows
from .segment_painter import TILES, draw_sheet


def write_markdown_report(run: PanopticRun, folder: str | Path, *, maps_only: bool = False) -> Path:
    """Write ``README.md`` and what it shows; sections without data are left out.

    Args:
        run: The run to report.
        folder: Folder of the page, its plots, ``worst_panoptic.jpg`` and ``panoptic.json``.
        maps_only: Whether to paint segments without their images, for a dataset that may not be
            passed on.

    Returns:
        The page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = run.numbers
    numbers.write_json(folder / "panoptic.json")
    sections = [head(run), _table(run), _plots(numbers, folder), _worst(numbers, folder, maps_only)]
    for instances in run.instances.values():
        sections += sections_of(instances, run.image_count, folder, maps_only)
    sections += [training(run, folder), environment(run.environment), list(run.notes)]
    return write_page(sections, folder)


def _table(run: PanopticRun) -> list[str]:
    numbers = run.numbers
    rows = table_rows(numbers)
    for row in rows[-3:]:
        row[0] = f"**{row[0]}**"
    return [
        f"## Panoptic quality per class on {run.image_count}",
        markdown_table(["class", *numbers.columns], rows, align="l" + "r" * len(numbers.columns)),
        table_note(numbers),
    ]


def _plots(numbers: PanopticNumbers, folder: Path) -> list[str]:
    parts = ["## Quality and segments"]
    for name, (description, draw) in FIGURES.items():
        save_png(draw(numbers), folder / f"{name}.png")
        parts.append(f"![{description}]({name}.png)")
    return parts


def _worst(numbers: PanopticNumbers, folder: Path, maps_only: bool) -> list[str]:
    if not numbers.worst:
        return []
    sheet = draw_sheet(numbers, with_images=not maps_only)
    save_image(sheet, folder / "worst_panoptic.jpg", jpeg_quality=85)
    return [
        "## Worst images",
        f"The lowest panoptic quality. From left to right: {', '.join(TILES)}.",
        "![worst images](worst_panoptic.jpg)",
    ]
