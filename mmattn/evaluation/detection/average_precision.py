"""COCO's average precision from hits in the order of their scores.

With tp and fp counted down to each detection and P objects, recall = tp / P and precision =
tp / (tp + fp). The precision at a recall is the highest at it or beyond, 0 beyond the last; AP is
its mean over the recalls 0, 0.01, …, 1.
"""

from __future__ import annotations

import numpy as np

from .matching import FOREGROUND, IGNORED, Matches

#: Recalls at which precision is taken, (101,).
RECALLS = np.linspace(0.0, 1.0, 101)


def precision_at_recalls(hits: np.ndarray, positives: float) -> np.ndarray:
    """Compute the precision at ``RECALLS``, (101,).

    Args:
        hits: bool (N,), whether each detection hits an object, in the order of falling scores.
        positives: Number of objects, P > 0.
    """
    return weighted_precision(hits, np.ones((1, len(hits))), np.array([positives]))[0]


def weighted_precision(hits: np.ndarray, weights: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Compute the precision at ``RECALLS`` where detections count several times or not at all.

    Args:
        hits: bool (N,), in the order of falling scores.
        weights: (B, N), how often each detection counts, in each of B draws.
        positives: (B,), number of objects in each draw.

    Returns:
        (B, 101); nan where there is no object.
    """
    true = np.cumsum(weights * hits, axis=1, dtype=np.float64)
    false = np.cumsum(weights * ~hits, axis=1, dtype=np.float64)
    # The smallest number instead of 0 / 0, where nothing is detected yet.
    precision = true / (true + false + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    result = np.full((len(weights), len(RECALLS)), np.nan)
    for row in np.flatnonzero(positives > 0):
        places = np.searchsorted(true[row] / positives[row], RECALLS, side="left")
        inside = places < len(hits)
        result[row] = 0.0
        result[row, inside] = precision[row, places[inside]]
    return result


def ranked(labels: np.ndarray, scores: np.ndarray, label: int, kept: np.ndarray) -> np.ndarray:
    """Return the detections of a class that are kept, by falling score; equal ones stay in order.

    Args:
        labels: (D,)
        scores: (D,)
        label: Class index.
        kept: bool (D,)
    """
    places = np.flatnonzero((labels == label) & kept)
    return places[np.argsort(-scores[places], kind="stable")]


def precision_curves(matches: Matches, threshold: float = FOREGROUND) -> np.ndarray:
    """Compute the precision of each class at ``RECALLS``.

    Returns:
        (K, 101); nan for a class without an object. Its mean over the recalls is the class' AP at
        this IoU threshold.
    """
    match = matches.at(threshold)
    return curves_of(
        matches.det_label, matches.det_score, match >= 0, match != IGNORED, matches.positives
    )


def curves_of(
    labels: np.ndarray,
    scores: np.ndarray,
    hits: np.ndarray,
    kept: np.ndarray,
    positives: np.ndarray,
) -> np.ndarray:
    """Compute the precision at ``RECALLS`` of any set of detections.

    Args:
        labels: (D,)
        scores: (D,)
        hits: bool (D,)
        kept: bool (D,), whether a detection counts.
        positives: (K,), number of objects of each class.

    Returns:
        (K, 101); nan for a class without an object.
    """
    curves = np.full((len(positives), len(RECALLS)), np.nan)
    for label in np.flatnonzero(positives > 0):
        order = ranked(labels, scores, int(label), kept)
        curves[label] = precision_at_recalls(hits[order], positives[label])
    return curves


def mean_defined(values: np.ndarray) -> float:
    """Return the mean of the values that are not nan; nan if all are."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
