"""What a panoptic metric keeps of one image: sums and counts, no pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmattn.detections.segment_map import SegmentMap, count_pairs
from mmattn.evaluation.semantic.confusion import SparseConfusion

from .matching import SegmentMatches, boundary_ious, mask_ious, match_segments
from .quality import QualitySums


@dataclass(eq=False)
class ImageResult:
    """Results of one image; a few kilobytes, so that processes can exchange them.

    Attributes:
        name: Path of the image.
        image_id: Id of the image in the dataset.
        quality: Sums of panoptic quality.
        boundary: Sums of boundary PQ, or None.
        confusion: Pixels by labelled and predicted class; the last class stands for void.
        segments: int64 (K,), labelled segments of each class; crowd regions are left out.
        label_maps: PNGs of the labelled and predicted segments, reduced in size, while this is one
            of the worst images.
        drawn: Segments of ``label_maps``, likewise.
        instances: What mask AP needs of this image, in run lengths, where instances are predicted.
        listed: Predicted segments as COCO's form lists them, where predictions are written.
    """

    name: str
    image_id: Any
    quality: QualitySums
    boundary: QualitySums | None
    confusion: SparseConfusion
    segments: np.ndarray
    label_maps: tuple[bytes, bytes] | None = None
    drawn: DrawnSegments | None = None
    instances: Any = None
    listed: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def without_truth(cls, name: str, image_id: Any) -> ImageResult:
        """Create the result of an image that is predicted and not compared."""
        nothing = np.zeros(0, np.int64)
        return cls(
            name=name,
            image_id=image_id,
            quality=QualitySums(nothing, np.zeros((4, 0))),
            boundary=None,
            confusion=SparseConfusion(nothing, nothing, 0),
            segments=nothing,
        )

    @property
    def rank(self) -> tuple[float, str]:
        """Sort key, the worst image first; the name breaks ties, whatever the order."""
        score = self.quality.quality()
        return (math.inf if math.isnan(score) else score), self.name


@dataclass(frozen=True, eq=False)
class DrawnSegments:
    """What is drawn of an image's segments, by their place.

    Attributes:
        truth: uint16 (T,), labels.
        predicted: uint16 (P,), labels.
        missed: bool (T,), whether nothing matches a labelled segment.
        false: bool (P,), whether a predicted segment is an error.
        crowd: bool (T,)
    """

    truth: np.ndarray
    predicted: np.ndarray
    missed: np.ndarray
    false: np.ndarray
    crowd: np.ndarray

    @classmethod
    def of(cls, truth: SegmentMap, predicted: SegmentMap, matches: SegmentMatches) -> DrawnSegments:
        """Collect what is drawn."""
        missed = np.zeros(len(truth.labels), bool)
        missed[matches.missed] = True
        false = np.zeros(len(predicted.labels), bool)
        false[matches.false] = True
        labels = truth.labels.astype(np.uint16), predicted.labels.astype(np.uint16)
        return cls(*labels, missed, false, truth.crowd)


def compare_image(
    name: str,
    image_id: Any,
    truth: SegmentMap,
    predicted: SegmentMap,
    num_classes: int,
    boundary_width: float | None,
) -> tuple[ImageResult, SegmentMatches]:
    """Compare the prediction of an image with its ground truth.

    Args:
        name: Path of the image.
        image_id: Id of the image.
        truth: Labelled segments.
        predicted: Predicted segments, of the same size.
        num_classes: K
        boundary_width: Distance d of boundary PQ; None leaves it out.

    Returns:
        The result, and the matches by mask.
    """
    pairs = count_pairs(truth, predicted)
    ious = mask_ious(pairs)
    matches = match_segments(truth, predicted, pairs, ious)
    boundary = None
    if boundary_width is not None:
        smaller = np.minimum(ious, boundary_ious(truth, predicted, boundary_width))
        by_boundary = match_segments(truth, predicted, pairs, smaller)
        boundary = QualitySums.of(truth, predicted, by_boundary)
    result = ImageResult(
        name=name,
        image_id=image_id,
        quality=QualitySums.of(truth, predicted, matches),
        boundary=boundary,
        confusion=class_confusion(truth, predicted, pairs, num_classes),
        segments=np.bincount(truth.labels[~truth.crowd], minlength=num_classes).astype(np.int32),
    )
    return result, matches


def class_confusion(
    truth: SegmentMap, predicted: SegmentMap, pairs: np.ndarray, num_classes: int
) -> SparseConfusion:
    """Count pixels by labelled and predicted class, from the pixels that segments share.

    Crowd regions are of their class; what is void in the ground truth counts nowhere, what is void
    in the prediction is no class.

    Args:
        truth: T segments.
        predicted: P segments.
        pairs: Result of ``count_pairs``.
        num_classes: K
    """
    side = num_classes + 1
    columns = np.concatenate([[num_classes], predicted.labels])
    places = (truth.labels[:, None] * side + columns).reshape(-1)
    # Doubles add integers exactly far beyond the pixels of any image.
    flat = np.bincount(places, pairs[1:].reshape(-1), side * side).astype(np.int64)
    found = np.flatnonzero(flat)
    return SparseConfusion(found, flat[found], side)
