"""COCO's average precision of boxes, masks or outlines, computed by faster-coco-eval."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

if TYPE_CHECKING:
    from faster_coco_eval import COCO

_EVERY = slice(None)
_COCO_LIMIT = 100
_AREAS = {"all": 0, "s": 1, "m": 2, "l": 3}
#: Key of the result -> (threshold of IoU or all of them, range of areas), as COCO defines them.
PRECISIONS: dict[str, tuple[float | None, str]] = {
    "mAP": (None, "all"),
    "mAP_50": (0.5, "all"),
    "mAP_75": (0.75, "all"),
    "mAP_s": (None, "s"),
    "mAP_m": (None, "m"),
    "mAP_l": (None, "l"),
}


@dataclass(frozen=True, eq=False)
class CocoPrecision:
    """Precision as the evaluator accumulates it.

    Attributes:
        values: (IoU thresholds, recalls, classes, areas, max detections); -1 where undefined.
        thresholds: IoU thresholds.
        max_dets: Limits of detections in the order of ``values``, which is ascending.
    """

    values: np.ndarray
    thresholds: np.ndarray
    max_dets: tuple[int, ...]

    def per_class(self) -> dict[str, np.ndarray]:
        """Return each of ``PRECISIONS`` by class, (K,); nan for a class without such an object."""
        count = self.values.shape[2]
        return {
            name: np.array([self._mean(name, classes=k, empty=np.nan) for k in range(count)])
            for name in PRECISIONS
        }

    def overall(self) -> dict[str, float]:
        """Return each of ``PRECISIONS`` over all classes; -1 if there is no such object.

        As COCO's own summary does, mAP is at 100 detections of a class in an image, whatever the
        order of the limits, and the others are at the largest limit; where 100 is none of the
        limits, mAP is at the largest too.
        """
        of_map = self.max_dets.index(limit_of_map(self.max_dets))
        return {
            name: self._mean(name, max_dets=of_map if name == "mAP" else -1) for name in PRECISIONS
        }

    def _mean(
        self,
        name: str,
        *,
        classes: int | slice = _EVERY,
        max_dets: int = -1,
        empty: float = -1.0,
    ) -> float:
        threshold, area = PRECISIONS[name]
        precision = self.values
        if threshold is not None:
            precision = precision[np.isclose(self.thresholds, threshold)]
        chosen = precision[:, :, classes, _AREAS[area], max_dets]
        chosen = chosen[chosen > -1]
        return float(chosen.mean()) if chosen.size else empty


def coco_of(dataset: dict[str, Any]) -> COCO:
    """Index annotations in COCO's format."""
    from faster_coco_eval import COCO

    return COCO(dataset)


def evaluate_coco(
    truth: COCO,
    detections: list[dict],
    iou_type: str,
    *,
    category_ids: Sequence[int],
    image_ids: Sequence[Any],
    max_dets: Sequence[int],
    thresholds: np.ndarray,
) -> CocoPrecision:
    """Evaluate detections.

    Args:
        truth: Annotations.
        detections: Records in COCO's results format; masks must come without ``bbox``.
        iou_type: ``bbox``, ``segm`` or ``boundary``.
        category_ids: Ids of the classes that count.
        image_ids: Ids of the images that count.
        max_dets: Limits of detections of a class in an image.
        thresholds: IoU thresholds.
    """
    from faster_coco_eval import COCOeval_faster

    shape = cast(Literal["bbox", "segm", "boundary"], iou_type)
    evaluation = COCOeval_faster(truth, truth.loadRes(detections), shape, print_function=_debug)
    evaluation.params.catIds = list(category_ids)
    evaluation.params.imgIds = list(image_ids)
    limits = sorted(max_dets)  # as the evaluator would
    evaluation.params.maxDets = limits
    evaluation.params.iouThrs = np.atleast_1d(thresholds)
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])
    return CocoPrecision(precision, np.atleast_1d(thresholds), tuple(limits))


def _debug(*message: object) -> None:
    logging.getLogger(__name__).debug(" ".join(map(str, message)))


def limit_of_map(max_dets: Sequence[int]) -> int:
    """Return the number of detections of a class in an image that COCO's mAP is at.

    Args:
        max_dets: All limits: 100 if it is one of them, else the largest.
    """
    return _COCO_LIMIT if _COCO_LIMIT in max_dets else max(max_dets)
