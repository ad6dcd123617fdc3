"""Plots of an evaluation: the confusion matrix, and images in a grid."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmattn.fonts import fitted, text_font
from mmattn.io import atomic_write
from mmattn.palette import Palette
from mmattn.reports.figure_style import new_axes, save_png
from mmattn.reports.overlays import save_image
from mmattn.reports.painter import Painter, read_photograph

from .calibration import STEPS
from .image_counts import ImageCounts
from .worst_images import decode_label_map

# With more classes the numbers in the cells could not be read.
_MAX_NUMBERED = 25
_TILE_WIDTH, _GAP, _LINE, _FONT = 320, 8, 22, 13
_OPACITY = 0.62
_OTHER = "no class"


def save_confusion(matrix: np.ndarray, classes: Sequence[str], file: Path) -> list[Path]:
    """Draw a confusion matrix, and write its counts beside it.

    The colour of a cell is its share of the row: of the pixels of a class, how many were
    predicted as which. Rows without a pixel stay empty.

    Args:
        matrix: (K + 1, K + 1) as ``confusion_matrix`` returns it; the last row and column are
            left out if nothing is in them.
        classes: Names of the K classes.
        file: Path of the PNG; the counts are written beside it as ``.csv``.

    Returns:
        The PNG and the CSV.
    """
    names = list(classes)
    if matrix[-1].any() or matrix[:, -1].any():
        names.append(_OTHER)
    counts = matrix[: len(names), : len(names)]
    table = file.with_suffix(".csv")
    with atomic_write(table, "w") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["labelled / predicted", *names])
        writer.writerows([name, *row] for name, row in zip(names, counts.tolist(), strict=True))
    _draw_matrix(counts, names, file)
    return [file, table]


def _draw_matrix(counts: np.ndarray, names: Sequence[str], file: Path) -> None:
    from matplotlib import colormaps

    pixels = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, pixels, out=np.full(counts.shape, np.nan), where=pixels > 0)
    side = min(20.0, 3.0 + 0.42 * len(names))
    axes = new_axes(side + 1.0, side, dpi=100)
    colours = colormaps["Blues"].with_extremes(bad="#e5e7eb")
    matrix_image = axes.imshow(100 * share, cmap=colours, vmin=0, vmax=100)
    size = "small" if len(names) <= _MAX_NUMBERED else max(2.0, 240 / len(names))
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("labelled")
    if len(names) <= _MAX_NUMBERED:
        for (row, column), value in np.ndenumerate(share):
            if value >= 0.005:
                colour = "white" if value > 0.5 else "black"
                text = f"{100 * value:.0f}"
                axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=7)
    axes.figure.colorbar(matrix_image, label="% of the labelled pixels", shrink=0.8)
    save_png(axes, file)


def save_calibration(counts: np.ndarray, file: Path) -> Path:
    """Write the bins of a calibration: share of the pixels, mean confidence, accuracy.

    Args:
        counts: int64 (3, bins) as ``calibration_counts`` returns them, summed over the images.
        file: Path of the JSON.
    """
    pixels, right, units = (row.astype(float) for row in counts)
    total, bins = max(float(pixels.sum()), 1.0), counts.shape[1]
    content = [
        {
            "from": place / bins,
            "to": (place + 1) / bins,
            "share": number / total,
            "confidence": units[place] / STEPS / number if number else None,
            "accuracy": right[place] / number if number else None,
        }
        for place, number in enumerate(pixels.tolist())
    ]
    with atomic_write(file, "w") as lines:
        lines.write(json.dumps({"bins": content}, indent=1) + "\n")
    return file


def save_images(
    images: Sequence[ImageCounts], classes: Sequence[str], palette: Palette, file: Path
) -> Path:
    """Draw images with their ground truth and prediction, one row for each.

    Args:
        images: Images that kept their label maps, the first one at the top.
        classes: Names of the classes, for the legend.
        palette: RGB per class; missing colours are filled in.
        file: Path of the PNG.
    """
    painter = Painter.of(classes, palette, opacity=_OPACITY)
    rows, seen = [], set()
    for image in images:
        label, predicted = (decode_label_map(encoded) for encoded in image.label_maps)
        seen |= {int(value) for value in np.union1d(label, predicted) if value < len(classes)}
        title = f"{Path(image.name).name}   mean IoU {100 * image.mean_iou:.1f} %"
        photograph = read_photograph(image.name, label.shape)
        rows.append(_row(painter.tiles(photograph, predicted, label), title))
    legend = painter.legend(sorted(seen), with_truth=True)
    width = rows[0].shape[1]
    sheet = np.concatenate([_heading(width), *rows, _legend(legend, width)])
    save_image(sheet, file)
    return file


def _row(tiles: Sequence[np.ndarray], title: str) -> np.ndarray:
    """Put photograph, ground truth and prediction side by side below a line of text."""
    tile_height, tile_width = tiles[0].shape[:2]
    height = max(1, round(_TILE_WIDTH * tile_height / tile_width))
    width = 3 * _TILE_WIDTH + 2 * _GAP
    row = np.full((_LINE + height + _GAP, width, 3), 255, np.uint8)
    # Small images are enlarged pixel by pixel, so that thin objects stay what they are.
    how = cv2.INTER_AREA if tile_width > _TILE_WIDTH else cv2.INTER_NEAREST
    for place, tile in enumerate(tiles):
        left = place * (_TILE_WIDTH + _GAP)
        row[_LINE : _LINE + height, left : left + _TILE_WIDTH] = cv2.resize(
            tile, (_TILE_WIDTH, height), interpolation=how
        )
    return _with_text(row, [(0, 2, fitted(title, width, _FONT))])


def _heading(width: int) -> np.ndarray:
    row = np.full((_LINE, width, 3), 255, np.uint8)
    names = ("image", "ground truth", "prediction")
    return _with_text(row, [(i * (_TILE_WIDTH + _GAP), 2, name) for i, name in enumerate(names)])


def _legend(entries: Sequence[tuple[str, Sequence[int]]], width: int) -> np.ndarray:
    """Draw the names of the classes beside their colours, in columns."""
    columns = 6
    each = width // columns
    lines = -(-len(entries) // columns)
    row = np.full((max(1, lines) * _LINE + _GAP, width, 3), 255, np.uint8)
    texts = []
    for index, (name, colour) in enumerate(entries):
        top, left = index // columns * _LINE, index % columns * each
        row[top + 4 : top + 18, left : left + 14] = colour
        texts.append((left + 20, top + 2, fitted(name, each - 28, _FONT)))
    return _with_text(row, texts)


def _with_text(image: np.ndarray, texts: Sequence[tuple[int, int, str]]) -> np.ndarray:
    """Write texts at (x, y) into a copy of ``image``."""
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    font = text_font(14)
    for x, y, text in texts:
        draw.text((x, y), text, fill=(17, 24, 39), font=font)
    return np.asarray(canvas)
