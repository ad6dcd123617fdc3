"""The report of a semantic segmentation run as a Markdown page, small enough to be committed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmattn.reports.markdown_sections import environment, head, parity_table, training, write_page
from mmattn.reports.number_formats import file_size
from mmattn.reports.overlays import colour_map, save_image
from mmattn.reports.painter import Painter
from mmattn.tables import markdown_table

from .run import Sample, SegmentationRun


def write_markdown_report(
    run: SegmentationRun, folder: str | Path, *, maps_only: bool = False
) -> Path:
    """Write ``README.md`` and what it shows; sections without data are left out.

    Args:
        run: The run to report.
        folder: Folder of the page, its plots, ``predictions.jpg`` and ``parity.json``.
        maps_only: Whether to show predictions without their images and ground truth, for a dataset
            that may not be passed on.

    Returns:
        The page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sections = [
        head(run),
        _class_table(run),
        _predictions(run, folder, maps_only),
        training(run, folder),
        _parity(run, folder),
        environment(run.environment),
        list(run.notes),
    ]
    return write_page(sections, folder)


def _class_table(run: SegmentationRun) -> list[str]:
    columns = {"torch": run.trained}
    if run.untrained is not None:
        columns = {"untrained": run.untrained, **columns}
    if run.exported is not None:
        columns[run.runtime] = run.exported
    rows = [
        [name, *(_two_digits(ious.ious[index]) for ious in columns.values())]
        for index, name in enumerate(run.trained.classes)
    ]
    rows.append(["**mean**", *(_two_digits(ious.mean) for ious in columns.values())])
    return [
        f"## IoU per class, %, on {run.image_count}",
        markdown_table(["class", *columns], rows, align="l" + "r" * len(columns)),
        f"{run.trained.pixel_accuracy:.2f} % of the labelled pixels are right.",
    ]


def _two_digits(value: float) -> str:
    return f"{value:.2f}" if value == value else "-"


def _predictions(run: SegmentationRun, folder: Path, maps_only: bool) -> list[str]:
    if not run.samples:
        return []
    painter = Painter.of(run.trained.classes, run.palette, opacity=0.62)
    with_exported = all(sample.exported is not None for sample in run.samples)
    _draw_samples(folder / "predictions.jpg", run.samples, painter, with_exported, maps_only)
    columns = ["torch", run.runtime] if with_exported else ["prediction"]
    columns = columns if maps_only else ["image", "ground truth", *columns]
    parts = ["## Predictions"]
    if len(columns) > 1:
        parts.append(f"From left to right: {', '.join(columns)}.")
    return [*parts, "![predictions](predictions.jpg)"]


def _draw_samples(
    path: Path,
    samples: Sequence[Sample],
    painter: Painter,
    with_exported: bool,
    maps_only: bool,
) -> None:
    rows = []
    for sample in samples:
        maps = [sample.predicted] + ([sample.exported] if with_exported else [])
        if maps_only:
            tiles = [colour_map(classes, painter.palette) for classes in maps]
        else:
            tiles = painter.tiles(sample.image, maps[0], sample.truth)
            for classes in maps[1:]:
                tiles.append(painter.paint_prediction(sample.image, classes, sample.truth))
        rows.append(np.hstack(tiles))
    sheet = np.vstack([_pad(row, max(row.shape[1] for row in rows)) for row in rows])
    save_image(sheet, path, jpeg_quality=85)


def _pad(row: np.ndarray, width: int) -> np.ndarray:
    """Fill a row up with white: the images of a dataset may differ in size."""
    missing = width - row.shape[1]
    return np.pad(row, ((0, 0), (0, missing), (0, 0)), constant_values=255)


def _parity(run: SegmentationRun, folder: Path) -> list[str]:
    if run.parity is None:
        return []
    size = [] if run.file_bytes is None else [f"The file has {file_size(run.file_bytes)}."]
    return ["## The exported file against torch", *size, *parity_table(run.parity, folder)]
