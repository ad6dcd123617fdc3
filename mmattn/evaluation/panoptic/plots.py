"""Plots of a panoptic evaluation, and its numbers beside them."""

from __future__ import annotations

from pathlib import Path

import cv2

from mmattn.io import atomic_write
from mmattn.reports.figure_style import save_png
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
        sheet = draw_sheet(numbers)
        success, encoded = cv2.imencode(".png", sheet[..., ::-1])
        if not success:
            raise ValueError(f"OpenCV cannot encode an image of shape {sheet.shape}")
        file = folder / f"worst_panoptic_{name}.png"
        with atomic_write(file) as content:
            content.write(encoded.tobytes())
        files.append(file)
    return files
