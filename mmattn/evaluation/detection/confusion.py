"""Confusion matrix of a detector: which objects are detected as what, at one confidence.

Every object and every detection of the confidence and more is counted once. Hits of the right class
come first; then what is left over is matched across classes, by falling score and overlap, from IoU
0.5 on. An object that is still left is background to the detector, and a detection that is still
left was drawn on the background.
"""

from __future__ import annotations

import numpy as np

from .matching import FOREGROUND, IGNORED, Matches


def confusion_matrix(matches: Matches, confidence: float) -> np.ndarray:
    """Count objects by class and detected class.

    Args:
        matches: Matches of a dataset.
        confidence: Lowest score of a detection that counts.

    Returns:
        int64 (K + 1, K + 1): rows by the class of the object, columns by that of the detection;
        the last of each is the background.
    """
    match = matches.at(FOREGROUND)
    shown = (matches.det_score >= confidence) & (match != IGNORED)
    hits = np.flatnonzero(shown & (match >= 0))
    detected_as = np.full(len(matches.obj_label), matches.num_classes)
    detected_as[match[hits]] = matches.det_label[hits]
    free = shown.copy()
    free[hits] = False

    left = (matches.pair_iou >= FOREGROUND) & free[matches.pair_det]
    left &= detected_as[matches.pair_obj] == matches.num_classes
    pairs = np.flatnonzero(left)
    # Detections of an image are sorted by score already; images share nothing.
    pairs = pairs[np.lexsort((-matches.pair_iou[pairs], matches.pair_det[pairs]))]
    for det, obj in zip(matches.pair_det[pairs], matches.pair_obj[pairs], strict=True):
        if free[det] and detected_as[obj] == matches.num_classes:
            free[det] = False
            detected_as[obj] = matches.det_label[det]

    size = matches.num_classes + 1
    matrix = np.bincount(matches.obj_label.astype(np.int64) * size + detected_as, minlength=size**2)
    matrix = matrix.reshape(size, size).astype(np.int64)
    matrix[-1, :-1] = np.bincount(matches.det_label[free], minlength=matches.num_classes)
    return matrix
