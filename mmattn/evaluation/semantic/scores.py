"""Scores of semantic segmentation from counts of pixels, for each class.

With I hit, P predicted and L labelled pixels of a class:
    IoU = I / (P + L - I)    Acc = Recall = I / L    Precision = I / P    Dice = 2 I / (P + L)
    Fscore = (1 + beta^2) Precision Recall / (beta^2 Precision + Recall)
The boundary scores are those of ``boundary.py``. A ratio of nothing to nothing is nan. So, as in
mmseg, IoU and Dice of a class are nan if it is neither labelled nor predicted, but 0 if it is only
predicted; Acc is nan without a labelled pixel; Fscore also without a predicted one, and without a
hit. BoundaryF is 0 where outlines are there but none meet, and nan where there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

#: Metric -> the scores that it consists of. The first three are mmseg's.
METRICS: dict[str, tuple[str, ...]] = {
    "mIoU": ("IoU", "Acc"),
    "mDice": ("Dice", "Acc"),
    "mFscore": ("Fscore", "Precision", "Recall"),
    "mBoundaryIoU": ("BoundaryIoU",),
    "mBoundaryF": ("BoundaryF",),
}
AREAS = ("hit", "predicted", "labelled")
BANDS = ("band_hit", "band_predicted", "band_labelled")
EDGES = ("edge_predicted_hit", "edge_predicted", "edge_labelled_hit", "edge_labelled")

Counts = Mapping[str, np.ndarray]


def class_scores(counts: Counts, metrics: Sequence[str], beta: float = 1) -> dict[str, np.ndarray]:
    """Compute scores of every class, as fractions.

    Args:
        counts: Name (of ``AREAS``, ``BANDS``, ``EDGES``) -> (…, K); those that ``metrics`` need.
        metrics: Keys of ``METRICS``.
        beta: Weight of recall in Fscore.

    Returns:
        Name of the score -> (…, K), in the order of ``METRICS``' values.
    """
    scores: dict[str, np.ndarray] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for metric in metrics:
            scores |= _FORMULAS[metric](counts, beta)
    return scores


def all_scores(
    counts: Counts, metrics: Sequence[str], beta: float = 1, nan_to_num: float | None = None
) -> dict[str, np.ndarray]:
    """Compute pixel accuracy, the means over the classes, and the scores of every class.

    Args:
        counts: Counts as for ``class_scores``.
        metrics: Keys of ``METRICS``.
        beta: Weight of recall in Fscore.
        nan_to_num: Value for a class without a score; None leaves it nan and out of the mean.

    Returns:
        ``aAcc`` and the means (``mIoU``, …), of shape (…), and the scores (``IoU``, …), (…, K).
    """
    values = class_scores(counts, metrics, beta)
    if nan_to_num is not None:
        values = {name: np.nan_to_num(value, nan=nan_to_num) for name, value in values.items()}
    means = {f"m{name}": mean_over_classes(value) for name, value in values.items()}
    return {"aAcc": pixel_accuracy(counts), **means, **values}


def pixel_accuracy(counts: Counts) -> np.ndarray:
    """Return the share of the labelled pixels that are hit, of shape (…)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return counts["hit"].sum(-1) / counts["labelled"].sum(-1)


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """Return the mean of (…, K) over the classes whose value is defined; nan if none is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(-1) / defined.sum(-1)


def _iou(counts: Counts, beta: float) -> dict[str, np.ndarray]:
    hit, predicted, labelled = (counts[name] for name in AREAS)
    return {"IoU": hit / (predicted + labelled - hit), "Acc": hit / labelled}


def _dice(counts: Counts, beta: float) -> dict[str, np.ndarray]:
    hit, predicted, labelled = (counts[name] for name in AREAS)
    return {"Dice": 2 * hit / (predicted + labelled), "Acc": hit / labelled}


def _f_score(counts: Counts, beta: float) -> dict[str, np.ndarray]:
    hit, predicted, labelled = (counts[name] for name in AREAS)
    precision, recall = hit / predicted, hit / labelled
    score = (1 + beta**2) * (precision * recall) / (beta**2 * precision + recall)
    return {"Fscore": score, "Precision": precision, "Recall": recall}


def _boundary_iou(counts: Counts, beta: float) -> dict[str, np.ndarray]:
    hit, predicted, labelled = (counts[name] for name in BANDS)
    return {"BoundaryIoU": hit / (predicted + labelled - hit)}


def _boundary_f(counts: Counts, beta: float) -> dict[str, np.ndarray]:
    predicted_hit, predicted, labelled_hit, labelled = (counts[name] for name in EDGES)
    precision, recall = predicted_hit / predicted, labelled_hit / labelled
    score = 2 * precision * recall / (precision + recall)
    # Outlines on one side only, or none that meet, are plainly wrong and not undefined.
    missed = (predicted_hit + labelled_hit == 0) & (predicted + labelled > 0)
    return {"BoundaryF": np.where(missed, 0.0, score)}


_FORMULAS = {
    "mIoU": _iou,
    "mDice": _dice,
    "mFscore": _f_score,
    "mBoundaryIoU": _boundary_iou,
    "mBoundaryF": _boundary_f,
}
