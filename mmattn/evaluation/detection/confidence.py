"""Precision, recall and F1 of each class as functions of the confidence that is asked for.

At confidence c the detections with a score of c and more count. F1 = 2 tp / (2 tp + fp + fn), with
hits at IoU 0.5. The best confidence is that of the highest mean F1 over the classes that occur: one
for all classes, as a detector is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .average_precision import mean_defined
from .matching import FOREGROUND, IGNORED, Matches

_STEPS = 1001


@dataclass(frozen=True, eq=False)
class ConfidenceCurves:
    """Curves over C confidences, 0 to 1 in steps of 0.001 (wider, if scores lie outside).

    Attributes:
        confidences: (C,)
        precision: (K, C); nan where nothing is detected, or the class does not occur.
        recall: (K, C); nan for a class that does not occur.
        f1: (K, C); nan for a class that does not occur.
    """

    confidences: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def mean_f1(self) -> np.ndarray:
        """Mean F1 over the classes that occur, (C,); nan if none does."""
        occurring = self.f1[~np.isnan(self.f1).any(axis=1)]
        return occurring.mean(axis=0) if len(occurring) else np.full(self.f1.shape[1], np.nan)

    @property
    def best(self) -> int:
        """Place of the lowest confidence with the highest mean F1; 0 if there is no object."""
        curve = self.mean_f1
        return 0 if np.isnan(curve).any() else int(np.argmax(curve))


def confidence_curves(matches: Matches) -> ConfidenceCurves:
    """Compute the curves of all classes."""
    scores, match = matches.det_score, matches.at(FOREGROUND)
    low = min(0.0, scores.min(initial=0.0))
    high = max(1.0, scores.max(initial=1.0))
    confidences = np.linspace(low, high, _STEPS)
    shape = (matches.num_classes, _STEPS)
    precision, recall, f1 = (np.full(shape, np.nan) for _ in range(3))
    for label, positives in enumerate(matches.positives):
        if not positives:
            continue
        own = matches.det_label == label
        hit = _at_least(scores[own & (match >= 0)], confidences)
        shown = _at_least(scores[own & (match != IGNORED)], confidences)
        np.divide(hit, shown, out=precision[label], where=shown > 0)
        recall[label] = hit / positives
        f1[label] = 2 * hit / (shown + positives)  # shown + positives = 2 tp + fp + fn
    return ConfidenceCurves(confidences, precision, recall, f1)


def _at_least(scores: np.ndarray, confidences: np.ndarray) -> np.ndarray:
    """Count the scores of each confidence and more."""
    return len(scores) - np.searchsorted(np.sort(scores), confidences, side="left")


def means_at(curves: ConfidenceCurves, place: int) -> tuple[float, float]:
    """Return mean precision and mean recall at a confidence, over the classes that have them."""
    return mean_defined(curves.precision[:, place]), mean_defined(curves.recall[:, place])
