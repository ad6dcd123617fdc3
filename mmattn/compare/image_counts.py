"""What a run keeps of each validation image, so that images can be drawn again for the bootstrap.

A segmentor leaves pixel counts (``areas.npz``), a detector its detections matched with the objects
(``matches_bbox.npz``, ``matches_segm.npz``). From both follows the metric over all images,
unrounded, and over images that count several times or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmattn.evaluation.bootstrap import sum_drawn
from mmattn.evaluation.detection.coco_evaluator import limit_of_map
from mmattn.evaluation.detection.intervals import ap_of_draws
from mmattn.evaluation.detection.matching import Matches, best_detections
from mmattn.evaluation.protocols import HasAreas, HasMatches
from mmattn.evaluation.semantic.scores import class_scores, mean_over_classes, pixel_accuracy
from mmattn.io import atomic_write

#: File of pixel counts in a run's folder.
AREAS = "areas.npz"
# Metric that follows from pixel counts -> its group in ``scores.METRICS``, its score per class.
_CLASS_SCORES = {"mIoU": ("mIoU", "IoU"), "mAcc": ("mIoU", "Acc"), "mDice": ("mDice", "Dice")}
AREA_METRICS = (*_CLASS_SCORES, "aAcc")
# Ending of a metric of COCO that follows from matches -> its IoU threshold; None for all of them.
_AP = {"mAP": None, "mAP_50": 0.5, "mAP_75": 0.75}


class ImageCounts(Protocol):
    """Counts of each validation image of one run."""

    @property
    def images(self) -> tuple[Any, ...]:
        """Names of the images, in the order of the counts."""
        ...

    def has(self, metric: str) -> bool:
        """Return whether a metric follows from the counts."""
        ...

    def value(self, metric: str) -> float:
        """Compute a metric over all images, unrounded and in the unit of the evaluation."""
        ...

    def of_draws(self, metric: str, times: np.ndarray) -> np.ndarray:
        """Compute a metric over images that count several times.

        Args:
            metric: Name of the metric, as the evaluation calls it.
            times: How often each image counts in each draw, (draws, images).

        Returns:
            (draws,)
        """
        ...


@dataclass(frozen=True)
class PixelCounts:
    """Counts of a segmentor.

    Attributes:
        areas: (images, 4, classes), see ``HasAreas``.
    """

    areas: np.ndarray

    @property
    def images(self) -> tuple[Any, ...]:
        return tuple(range(len(self.areas)))

    def has(self, metric: str) -> bool:
        return metric in AREA_METRICS

    def value(self, metric: str) -> float:
        return float(area_metric(self.areas.sum(axis=0), metric))

    def of_draws(self, metric: str, times: np.ndarray) -> np.ndarray:
        return area_metric(sum_drawn(times, self.areas), metric)


@dataclass(frozen=True)
class DetectionCounts:
    """Counts of a detector.

    Attributes:
        name: Beginning of the names of its metrics, such as ``coco/bbox``.
        matches: Detections matched with objects, without overlaps (``pair_*``).
        thresholds: IoU thresholds of AP.
        max_dets: Limits of detections of a class in an image; COCO takes 100 for AP, if it is
            one of them, and the highest for AP at one threshold.
    """

    name: str
    matches: Matches
    thresholds: np.ndarray
    max_dets: tuple[int, ...]

    @property
    def images(self) -> tuple[Any, ...]:
        return self.matches.image_ids

    def has(self, metric: str) -> bool:
        item = metric.removeprefix(f"{self.name}_")
        if item not in _AP or item == metric:
            return False
        threshold = _AP[item]
        return threshold is None or bool(np.isclose(self.thresholds, threshold).any())

    def value(self, metric: str) -> float:
        return float(self.of_draws(metric, np.ones((1, len(self.images)), np.int64))[0])

    def of_draws(self, metric: str, times: np.ndarray) -> np.ndarray:
        """See ``ImageCounts``; a class without an object in a draw is left out of its mean."""
        threshold = _AP[metric.removeprefix(f"{self.name}_")]
        limit = limit_of_map(self.max_dets) if threshold is None else max(self.max_dets)
        levels = self.thresholds if threshold is None else np.array([threshold])
        ap = ap_of_draws(best_detections(self.matches, limit), levels, times)[0]
        defined = ~np.isnan(ap)
        with np.errstate(invalid="ignore"):
            return np.where(defined, ap, 0.0).sum(axis=1) / defined.sum(axis=1)


def area_metric(areas: np.ndarray, metric: str) -> np.ndarray:
    """Compute a segmentation metric, in percent, from pixel counts.

    Args:
        areas: Pixels of each class, (..., 4, classes): hit, union, predicted, labelled, as
            ``ClasswiseIoUMetric.areas`` has them. Classes that are neither labelled nor predicted
            are left out of means.
        metric: Name of the metric, one of ``AREA_METRICS``.
    """
    hit, _, predicted, labelled = np.moveaxis(areas.astype(np.float64), -2, 0)
    counts = {"hit": hit, "predicted": predicted, "labelled": labelled}
    if metric == "aAcc":
        return 100 * pixel_accuracy(counts)
    group, score = _CLASS_SCORES[metric]
    return 100 * mean_over_classes(class_scores(counts, [group])[score])


def save_counts(metrics: Iterable[Any], folder: Path) -> dict[str, Any]:
    """Write the counts that the metrics of an evaluation keep.

    Args:
        metrics: Metrics of the evaluation.
        folder: Folder of the run.

    Returns:
        What ``load_counts`` has to know: ``areas``, whether there are pixel counts, and
        ``matches``, name of a detector's metrics -> file.
    """
    written: dict[str, Any] = {"areas": False, "matches": {}}
    for metric in metrics:
        if isinstance(metric, HasAreas) and metric.areas is not None and not written["areas"]:
            with atomic_write(folder / AREAS) as file:
                np.savez_compressed(file, areas=metric.areas.astype(np.int64))
            written["areas"] = True
        if isinstance(metric, HasMatches):
            prefix = getattr(metric, "prefix", None)
            for iou_type, matches in metric.matches.items():
                name = f"{prefix}/{iou_type}" if prefix else iou_type
                file = f"matches_{name.replace('/', '_')}.npz"
                if name not in written["matches"]:
                    _save_matches(folder / file, matches, metric)
                    written["matches"][name] = file
    return written


def load_counts(folder: Path, written: Mapping[str, Any], metric: str) -> ImageCounts | None:
    """Load the counts from which a metric follows; None if the run has none.

    Args:
        folder: Folder of the run.
        written: What ``save_counts`` returned; other keys are ignored.
        metric: Name of the metric.
    """
    if written.get("areas") and metric in AREA_METRICS:
        with np.load(folder / AREAS) as file:
            return PixelCounts(file["areas"])
    for name, file in (written.get("matches") or {}).items():
        if metric.startswith(f"{name}_"):
            counts = _load_matches(name, folder / file)
            return counts if counts.has(metric) else None
    return None


def drawn_values(counts: ImageCounts, metric: str, times: np.ndarray, folder: Path) -> np.ndarray:
    """Compute ``counts.of_draws``, or read what an earlier report has computed.

    AP of 2000 draws of COCO's 5000 images takes minutes for each run, so it is kept beside them.

    Args:
        counts: Counts of the run.
        metric: Name of the metric.
        times: How often each image counts in each draw, (draws, images).
        folder: Folder of the run.
    """
    if not isinstance(counts, DetectionCounts):
        return counts.of_draws(metric, times)
    digest = hashlib.sha256(np.ascontiguousarray(times))
    for values in (counts.matches.det_image, counts.matches.det_score, counts.matches.match):
        digest.update(np.ascontiguousarray(values))
    key, file = digest.hexdigest(), folder / f"drawn_{metric.replace('/', '_')}.npz"
    if file.is_file():
        with np.load(file) as kept:
            if str(kept["of"]) == key:
                return kept["values"]
    values = counts.of_draws(metric, times)
    with atomic_write(file) as open_file:
        np.savez(open_file, of=key, values=values)
    return values


def _save_matches(path: Path, matches: Matches, metric: HasMatches) -> None:
    kept = {f.name: getattr(matches, f.name) for f in fields(Matches) if "pair_" not in f.name}
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            **{name: np.asarray(value) for name, value in kept.items()},
            ap_thresholds=np.atleast_1d(np.asarray(metric.iou_thrs, np.float64)),
            max_dets=np.asarray(metric.proposal_nums),
        )


def _load_matches(name: str, path: Path) -> DetectionCounts:
    with np.load(path) as file:
        content: dict[str, Any] = dict(file)
    thresholds, max_dets = content.pop("ap_thresholds"), content.pop("max_dets")
    content["image_ids"] = tuple(content["image_ids"].tolist())
    content["num_classes"] = int(content["num_classes"])
    pairs = np.zeros(0, np.int32)
    matches = Matches(**content, pair_det=pairs, pair_obj=pairs, pair_iou=np.zeros(0))
    return DetectionCounts(name, matches, thresholds, tuple(max_dets.tolist()))
