"""Segments of an image matched with those of its ground truth, by mask or by boundary.

Kirillov et al., Panoptic Segmentation, CVPR 2019, arXiv:1801.00868, section 4.1, with COCO's rules
on what is not labelled. A predicted segment p and a labelled segment g of one class match if
IoU(p, g) > 0.5; then neither has another match, since segments do not overlap:
    IoU(p, g) = |p ∩ g| / (|p| + |g| - |p ∩ g| - |p ∩ void|)
Void are the pixels without a labelled segment: there a prediction is neither right nor wrong. Crowd
regions are never matched nor missed. A segment without a match is no error if more than half of it
lies in void and in crowd regions of its class.

By boundary (Cheng et al., Boundary IoU, CVPR 2021, arXiv:2103.16562, section 5.3) the smaller one
of this IoU and of the boundary IoU takes the place of IoU. With p_d the pixels of p no further than
d from a pixel outside of p, which lies in another segment, in void or beyond the image:
    BoundaryIoU(p, g) = |p_d ∩ g_d| / (|p_d| + |g_d| - |p_d ∩ g_d| - |p_d ∩ void|)
with d = 2 % of the image's diagonal; distances are the larger one of rows and columns, as in the
authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmattn.detections.segment_map import SegmentMap, count_pairs
from mmattn.evaluation.semantic.boundary import inner_band, pixels_of

#: IoU above which segments match; with more than one half of a union, matches are unique.
MATCHED = 0.5
#: Distance d of boundary IoU, as a share of the image's diagonal.
BOUNDARY_WIDTH = 0.02


@dataclass(frozen=True, eq=False)
class SegmentMatches:
    """The matches of one image with T labelled and P predicted segments.

    Attributes:
        truth: int64 (M,), places of the matched labelled segments.
        predicted: int64 (M,), places of their predictions.
        ious: float64 (M,)
        missed: int64 (F,), places of labelled segments without a match, crowd regions left out.
        false: int64 (G,), places of predicted segments without a match that count as errors.
    """

    truth: np.ndarray
    predicted: np.ndarray
    ious: np.ndarray
    missed: np.ndarray
    false: np.ndarray


def mask_ious(pairs: np.ndarray) -> np.ndarray:
    """Compute the IoU of every pair, (T, P), void left out of the unions.

    Args:
        pairs: Result of ``count_pairs``.
    """
    return _ious(pairs[1:, 1:], pairs.sum(1)[1:], pairs.sum(0)[1:], pairs[0, 1:])


def boundary_ious(
    truth: SegmentMap, predicted: SegmentMap, width: float = BOUNDARY_WIDTH
) -> np.ndarray:
    """Compute the boundary IoU of every pair, (T, P), void left out of the unions.

    Args:
        truth: T segments.
        predicted: P segments of the same image.
        width: Distance d in pixels, or a share of the diagonal below 1.
    """
    d = pixels_of(width, truth.shape)
    band_truth, band_predicted = segment_bands(truth, d), segment_bands(predicted, d)
    both = count_pairs(truth, predicted, band_truth & band_predicted)
    of_truth = count_pairs(truth, predicted, band_truth).sum(1)
    of_predicted = count_pairs(truth, predicted, band_predicted)
    return _ious(both[1:, 1:], of_truth[1:], of_predicted.sum(0)[1:], of_predicted[0, 1:])


def segment_bands(segments: SegmentMap, width: int) -> np.ndarray:
    """Find the pixels of segments that are near their boundary.

    Args:
        segments: The segments.
        width: Distance d in pixels.

    Returns:
        bool (H, W)
    """
    # The highest value stays free: what lies beyond the image must not look like a segment.
    small = len(segments.labels) < np.iinfo(np.uint8).max
    index = segments.index.astype(np.uint8 if small else np.uint16)
    return inner_band(index, np.zeros(index.shape, bool), width) & (index > 0)


def match_segments(
    truth: SegmentMap, predicted: SegmentMap, pairs: np.ndarray, ious: np.ndarray
) -> SegmentMatches:
    """Match the segments of an image.

    Args:
        truth: T labelled segments.
        predicted: P predicted segments.
        pairs: Result of ``count_pairs``.
        ious: (T, P), of ``mask_ious``, or the smaller ones of these and of ``boundary_ious``.
    """
    same = truth.labels[:, None] == predicted.labels
    hits = (ious > MATCHED) & same & ~truth.crowd[:, None]
    rows, columns = np.nonzero(hits)
    missed = np.flatnonzero(~hits.any(1) & ~truth.crowd)
    # Several crowd regions of a class count together; COCO has one in an image.
    in_crowd = (pairs[1:, 1:] * (same & truth.crowd[:, None])).sum(0)
    excused = (pairs[0, 1:] + in_crowd) / np.maximum(pairs.sum(0)[1:], 1) > MATCHED
    false = np.flatnonzero(~hits.any(0) & ~excused)
    return SegmentMatches(rows, columns, ious[rows, columns], missed, false)


def _ious(both: np.ndarray, truth: np.ndarray, found: np.ndarray, void: np.ndarray) -> np.ndarray:
    union = truth[:, None] + found - both - void
    return np.divide(both, union, out=np.zeros(both.shape), where=union > 0)
