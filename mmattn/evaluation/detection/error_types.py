"""What a detector's errors cost, by type (TIDE: Bolya et al., ECCV 2020, arXiv:2008.08115).

Every detection that hits nothing at IoU 0.5 (t_f) has one type, by its largest overlaps with
objects (section 2.2), tested in the order of the authors' tool:

    localisation    an object of its class by 0.1 (t_b) or more, but less than 0.5
    classification  an object of another class by 0.5 or more
    duplicate       an object of its class by 0.5 or more, which a higher score has hit
    background      no object by 0.1 or more
    both            what is left: an object of another class by 0.1 or more, but less than 0.5

An object is missed if nothing hits it and no error of classification or localisation points at it.
What a type costs is the gain of mean AP at IoU 0.5 if all of its errors, and they alone, are mended
(section 2.3): a wrong class or place is set right, and where an object is hit already, or would be
hit twice, the lower score is dropped; the other detections are dropped; missed objects are not
counted. The gains do not add up to 1 - AP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .average_precision import curves_of, mean_defined
from .matching import BACKGROUND, FOREGROUND, IGNORED, UNMATCHED, Matches

#: Names of the types, the last of them of objects, the others of detections.
ERROR_TYPES = ("classification", "localisation", "both", "duplicate", "background", "missed")
_CLASSIFICATION, _LOCALISATION, _BOTH, _DUPLICATE, _BACKGROUND = range(5)
#: Entry of ``ErrorTypes.types`` for a detection that hits an object or is ignored.
NO_ERROR = -1


@dataclass(frozen=True, eq=False)
class ErrorTypes:
    """The errors of a dataset.

    Attributes:
        ap50: Mean AP at IoU 0.5, as a fraction.
        types: int8 (D,), index into ``ERROR_TYPES`` of each detection, or ``NO_ERROR``.
        missed: bool (O,), whether each object is missed.
        counts: Number of errors by name.
        gains: Gain of mean AP by name, as a fraction.
        false_positives: Gain if every detection without a hit is dropped.
        false_negatives: Gain if no object is counted that nothing hits.
    """

    ap50: float
    types: np.ndarray
    missed: np.ndarray
    counts: dict[str, int]
    gains: dict[str, float]
    false_positives: float
    false_negatives: float


def split_errors(matches: Matches) -> ErrorTypes:
    """Find the type of each error and what it costs."""
    match = matches.at(FOREGROUND)
    hit = np.zeros(len(matches.obj_label), bool)
    hit[match[match >= 0]] = True
    own = matches.det_label[matches.pair_det] == matches.obj_label[matches.pair_obj]
    own_iou, own_object = _largest(matches, own)
    other_iou, other_object = _largest(matches, ~own)

    types = np.full(len(match), NO_ERROR, np.int8)
    wrong = match == UNMATCHED
    types[wrong] = np.select(
        [
            (own_iou >= BACKGROUND) & (own_iou < FOREGROUND),
            other_iou >= FOREGROUND,
            own_iou >= FOREGROUND,
            np.maximum(own_iou, other_iou) < BACKGROUND,
        ],
        [_LOCALISATION, _CLASSIFICATION, _DUPLICATE, _BACKGROUND],
        default=_BOTH,
    )[wrong]
    aims = np.full(len(match), -1)
    aims[types == _LOCALISATION] = own_object[types == _LOCALISATION]
    aims[types == _CLASSIFICATION] = other_object[types == _CLASSIFICATION]
    missed = ~hit
    missed[aims[aims >= 0]] = False

    def mean_ap(
        labels: np.ndarray, hits: np.ndarray, kept: np.ndarray, positives: np.ndarray
    ) -> float:
        curves = curves_of(labels, matches.det_score, hits, kept, positives)
        return mean_defined(curves.mean(axis=1))

    hits, kept, positives = match >= 0, match != IGNORED, matches.positives
    ap50 = mean_ap(matches.det_label, hits, kept, positives)
    gains = {}
    for index, name in enumerate(ERROR_TYPES[:-1]):
        chosen = types == index
        mended = _first_per_object(chosen, aims, hit)
        labels = matches.det_label.copy()
        labels[mended] = matches.obj_label[aims[mended]]
        right = hits.copy()
        right[mended] = True
        chosen[mended] = False
        gains[name] = mean_ap(labels, right, kept & ~chosen, positives) - ap50

    def without(objects: np.ndarray) -> np.ndarray:
        return positives - np.bincount(matches.obj_label[objects], minlength=len(positives))

    gains[ERROR_TYPES[-1]] = mean_ap(matches.det_label, hits, kept, without(missed)) - ap50
    counts = {name: int((types == i).sum()) for i, name in enumerate(ERROR_TYPES[:-1])}
    counts[ERROR_TYPES[-1]] = int(missed.sum())
    return ErrorTypes(
        ap50=ap50,
        types=types,
        missed=missed,
        counts=counts,
        gains=gains,
        false_positives=mean_ap(matches.det_label, hits, hits, positives) - ap50,
        false_negatives=mean_ap(matches.det_label, hits, kept, without(~hit)) - ap50,
    )


def _largest(matches: Matches, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest IoU among the chosen pairs of each detection, and its object.

    Returns:
        IoU (D,), 0 without a pair; object (D,), -1 without one, the first of equal ones.
    """
    iou = np.zeros(len(matches.det_label))
    obj = np.full(len(matches.det_label), -1)
    pairs = np.flatnonzero(chosen)
    # The last assignment to a detection stays: that of the largest overlap, the first of equals.
    pairs = pairs[np.lexsort((-matches.pair_obj[pairs], matches.pair_iou[pairs]))]
    for values, source in ((iou, matches.pair_iou), (obj, matches.pair_obj)):
        values[matches.pair_det[pairs]] = source[pairs]
    return iou, obj


def _first_per_object(chosen: np.ndarray, aims: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Return, of the chosen detections, those of the highest score for an object not yet hit."""
    places = np.flatnonzero(chosen & (aims >= 0))
    places = places[~hit[aims[places]]]
    # An object's detections lie in one image, whose detections are sorted by score.
    _, first = np.unique(aims[places], return_index=True)
    return places[first]
