"""Plots of a panoptic evaluation, and its numbers beside them."""

from __future__ import annotations

from pathlib import Path

from mmattn.reports.figure_style import save_png
from mmattn.reports.overlays import save_image
from mmattn.reports.panoptic.figures import FIGURES
from mmattn.reports.panoptic.numbers import PanopticNumbers
from mmattn.reports.panoptic.segment_painter import draw_sheet


def save_plots(numbers: PanopticNumbers, folder: Path, name: str) -> list[Path]:
    """Write all plots of one evaluation.

    Args:
        numbers: Numbers of the evaluation.
        folder: Folder of the files.
        name: End of the file names, such as ``val``.

    Returns:
        ``panoptic_<name>.json``, a PNG of each of ``FIGURES``, and ``worst_panoptic_<name>.png``,
        if there is an image that could be the worst.
    """
    files = [numbers.write_json(folder / f"panoptic_{name}.json")]
    for title, (_, draw) in FIGURES.items():
        file = folder / f"{title}_{name}.png"
        save_png(draw(numbers), file)
        files.append(file)
    if numbers.worst:
        file = folder / f"worst_panoptic_{name}.png"
        save_image(draw_sheet(numbers), file)
        files.append(file)
    return files
