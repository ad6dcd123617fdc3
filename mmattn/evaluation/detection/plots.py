"""Plots of an evaluation of a detector, and its numbers beside them."""

from __future__ import annotations

from pathlib import Path

from mmattn.reports.detection.box_painter import draw_sheet
from mmattn.reports.detection.figures import FIGURES
from mmattn.reports.detection.numbers import DetectionNumbers
from mmattn.reports.figure_style import save_png
from mmattn.reports.overlays import save_image


def save_plots(numbers: DetectionNumbers, folder: Path, name: str) -> list[Path]:
    """Write all plots of one evaluation.

    Args:
        numbers: Numbers of the evaluation.
        folder: Folder of the files.
        name: End of the file names, such as ``bbox_val``.

    Returns:
        ``detection_<name>.json``, a PNG of each of ``FIGURES``, ``best_<name>.png`` and
        ``worst_<name>.png``, if there are such images.
    """
    files = [numbers.write_json(folder / f"detection_{name}.json")]
    for title, (_, draw) in FIGURES.items():
        file = folder / f"{title}_{name}.png"
        save_png(draw(numbers), file)
        files.append(file)
    if numbers.best:
        file = folder / f"best_{name}.png"
        save_image(draw_sheet(numbers, best=True), file)
        files.append(file)
    if numbers.worst:
        file = folder / f"worst_{name}.png"
        save_image(draw_sheet(numbers), file)
        files.append(file)
    return files
