"""Quality of outlines: counts for boundary IoU and for the boundary F-score.

Boundary IoU (Cheng et al., Boundary IoU, CVPR 2021, arXiv:2103.16562, equation 2) is the IoU of the
pixels near the outline of each mask, on its inner side. With G_d the pixels of the labelled mask G
that are no further than d from a pixel outside of G, and P_d likewise:
    BoundaryIoU = |G_d ∩ P_d| / |G_d ∪ P_d|
Distances are as in the authors' code: the larger one of rows and columns (erosion by a square);
what lies outside of the image is outside of every mask.

The boundary F-score (Csurka et al., BMVC 2013; Perazzi et al., DAVIS, CVPR 2016) compares the
outlines themselves. E(M) are the pixels of M with one of their four neighbours outside of M but in
the image; a pixel of an outline is hit if the other outline has one of the same class at most t
pixels away, measured straight (Euclid):
    precision = hit pixels of E(P) / |E(P)|,  recall = hit pixels of E(G) / |E(G)|
    F = 2 precision recall / (precision + recall)

In both, pixels without a label are neither inside nor outside: an outline is not invented where
labels end, and what is predicted there counts nowhere. All classes of a label map are handled at
once, so the time does not depend on their number. Counts of images are added before a ratio is
taken, as for mIoU. (DAVIS takes F of each image and averages.)
"""

from __future__ import annotations

import math

import cv2
import numpy as np


def pixels_of(size: float, shape: tuple[int, int], *, up: bool = False) -> int:
    """Convert a length to pixels: as given from 1 on, else that share of the image's diagonal.

    Args:
        size: Length in pixels, or a share below 1.
        shape: Height and width of the image.
        up: Whether to round up, as DAVIS does, instead of to the nearest.
    """
    if size >= 1:
        return int(size)
    length = size * math.hypot(*shape)
    return max(1, math.ceil(length) if up else round(length))


def clean_label_maps(
    label: np.ndarray, predicted: np.ndarray, num_classes: int, ignore_index: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Set whatever is no class to K in both label maps, and find the ignored pixels.

    Returns:
        label, predicted (H, W), uint8 or, for many classes, uint16; ignored (H, W), bool.
    """
    ignored = label == ignore_index
    dtype = np.uint8 if num_classes < 255 else np.uint16
    # The highest value of `dtype` stays free for what must not count.
    cleaned = [
        np.where((classes >= 0) & (classes < num_classes), classes, num_classes).astype(dtype)
        for classes in (label, predicted)
    ]
    return (*cleaned, ignored)


def inner_band(classes: np.ndarray, ignored: np.ndarray, width: int) -> np.ndarray:
    """Find pixels with another class, or the image's end, within ``width`` rows and columns.

    Args:
        classes: (H, W) class indices below the highest value of their type.
        ignored: (H, W) bool, neither inside nor outside of a class.
        width: Distance d in pixels, at least 1.

    Returns:
        (H, W) bool
    """
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    # A window holds a single class if its least and its greatest value are that class. Values
    # beyond the image, and ignored ones, change neither.
    least = cv2.erode(np.where(ignored, np.iinfo(classes.dtype).max, classes), square)
    greatest = cv2.dilate(np.where(ignored, classes.dtype.type(0), classes), square)
    band = (least != classes) | (greatest != classes)
    band[:width] = band[-width:] = True
    band[:, :width] = band[:, -width:] = True
    return band & ~ignored


def boundary_areas(
    label: np.ndarray, predicted: np.ndarray, ignored: np.ndarray, num_classes: int, width: int
) -> np.ndarray:
    """Count for boundary IoU.

    Args:
        label, predicted, ignored: Results of ``clean_label_maps``.
        num_classes: Number of classes, K.
        width: Distance d in pixels.

    Returns:
        int64 (3, K): pixels in both bands, in that of the prediction, in that of the label.
    """
    band_label = inner_band(label, ignored, width)
    band_predicted = inner_band(predicted, ignored, width)
    both = band_label & band_predicted & (label == predicted)
    return np.stack(
        [
            _count(label[both], num_classes),
            _count(predicted[band_predicted], num_classes),
            _count(label[band_label], num_classes),
        ]
    )


def outlines(classes: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Find E of all classes at once: pixels with another class above, below, left or right.

    Returns:
        (H, W) bool
    """
    edges = np.zeros(classes.shape, bool)
    across = (classes[:, 1:] != classes[:, :-1]) & ~ignored[:, 1:] & ~ignored[:, :-1]
    down = (classes[1:] != classes[:-1]) & ~ignored[1:] & ~ignored[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def outline_hits(
    label: np.ndarray, predicted: np.ndarray, ignored: np.ndarray, num_classes: int, tolerance: int
) -> np.ndarray:
    """Count for the boundary F-score.

    Args:
        label, predicted, ignored: Results of ``clean_label_maps``.
        num_classes: Number of classes, K.
        tolerance: Distance t in pixels.

    Returns:
        int64 (4, K): hit and all pixels of the predicted outlines, then of the labelled ones.
    """
    edges_label, edges_predicted = outlines(label, ignored), outlines(predicted, ignored)
    counts = []
    for classes, edges, other, other_edges in (
        (predicted, edges_predicted, label, edges_label),
        (label, edges_label, predicted, edges_predicted),
    ):
        hit = _hit(classes, edges, other, other_edges, tolerance)
        counts += [_count(hit, num_classes), _count(classes[edges], num_classes)]
    return np.stack(counts)


def _hit(
    classes: np.ndarray, edges: np.ndarray, other: np.ndarray, other_edges: np.ndarray, t: int
) -> np.ndarray:
    """Return the classes of edge pixels with one of their class within ``t`` in the other map.

    Edges are few, and most are hit at once: only those not yet hit are compared again, with the
    next nearest place.
    """
    none = np.iinfo(classes.dtype).max
    around = np.pad(np.where(other_edges, other, none), t, constant_values=none)
    pitch = around.shape[1]
    around = around.reshape(-1)
    rows, columns = np.nonzero(edges)
    places = (rows + t) * pitch + columns + t
    wanted = classes[edges]
    hits = []
    for dy, dx in _disc(t):
        hit = around[places + (dy * pitch + dx)] == wanted
        hits.append(wanted[hit])
        places, wanted = places[~hit], wanted[~hit]
    return np.concatenate(hits)


def _disc(radius: int) -> list[tuple[int, int]]:
    """List integer offsets (dy, dx) up to ``radius`` away, the nearest first."""
    side = range(-radius, radius + 1)
    inside = [(dy, dx) for dy in side for dx in side if dy * dy + dx * dx <= radius * radius]
    return sorted(inside, key=lambda offset: offset[0] ** 2 + offset[1] ** 2)


def _count(classes: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(classes, minlength=num_classes + 1)[:num_classes].astype(np.int64)
