"""Measure a trained semantic model of mmdet for a report, as a validation does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmattn.errors import ConfigError
from mmattn.evaluation.semantic.classwise_iou import ClasswiseIoUMetric
from mmattn.evaluation.semantic.scores import class_scores, mean_over_classes, pixel_accuracy
from mmattn.evaluation.semantic.worst_images import decode_label_map
from mmattn.reports import SegmentationRun
from mmattn.reports.painter import read_photograph
from mmattn.reports.run import Step
from mmattn.reports.semantic.run import Sample

from .evaluate import evaluate_for_report, fields_of_run


@dataclass(frozen=True)
class MeasuredIous:
    """IoU per class in percent, nan for a class that does not occur.

    Attributes:
        classes: Names of the classes.
        ious: IoU of each class.
        pixel_accuracy: Share of the labelled pixels that are right.
    """

    classes: tuple[str, ...]
    ious: tuple[float, ...]
    pixel_accuracy: float

    @property
    def mean(self) -> float:
        """Mean over the classes that occur."""
        return float(mean_over_classes(np.asarray(self.ious)))

    @classmethod
    def of(cls, confusion: np.ndarray, classes: Sequence[str]) -> MeasuredIous:
        """Compute them from a confusion matrix, (K + 1, K + 1), rows by label."""
        counts = {
            "hit": np.diagonal(confusion)[:-1],
            "predicted": confusion.sum(0)[:-1],
            "labelled": confusion.sum(1)[:-1],
        }
        ious = 100 * class_scores(counts, ["mIoU"])["IoU"]
        return cls(tuple(classes), tuple(ious.tolist()), 100 * float(pixel_accuracy(counts)))


def measure_run(
    config: str | Path,
    checkpoint: str | Path,
    *,
    num_images: int = 4,
    steps: Sequence[Step] = (),
) -> SegmentationRun:
    """Evaluate a checkpoint on the validation set and collect what a report shows.

    Curves and training time come from the folder of the checkpoint's run, in which nothing is
    written.

    Args:
        config: Config of the run.
        checkpoint: Weights, in the folder of the run.
        num_images: Number of images to show, those with the lowest mean IoU.
        steps: Commands that led to the weights.

    Raises:
        MMAttnError: Config, data or checkpoint are wrong; the message says how.
        ConfigError: No metric of ``val_evaluator`` counts pixels.
    """

    def choose(metrics: Sequence[Any]) -> list[Any]:
        reported = [metric for metric in metrics if isinstance(metric, ClasswiseIoUMetric)]
        if not reported:
            names = ", ".join(type(metric).__name__ for metric in metrics)
            raise ConfigError(
                f"{config}: a report on semantic segmentation is made of the metric of pixels, but "
                f"val_evaluator has {names}. Add dict(type='mmdet.SemSegMetric') to it."
            )
        reported[0].worst = num_images
        return reported[:1]

    (metric,) = evaluate_for_report(config, checkpoint, choose)
    if metric.confusion is None:
        raise ConfigError(
            f"{config}: val_evaluator only writes predictions, so there is nothing to report. "
            "Leave format_only out."
        )
    samples = []
    for image in metric.worst_images:
        truth, predicted = (decode_label_map(encoded) for encoded in image.label_maps)
        shape = (truth.shape[0], truth.shape[1])
        samples.append(Sample(read_photograph(image.name, shape), truth, predicted))
    return SegmentationRun(
        trained=MeasuredIous.of(metric.confusion, metric.dataset_meta["classes"]),
        palette=metric.dataset_meta.get("palette") or (),
        num_images=len(metric.areas),
        samples=samples,
        **fields_of_run(config, checkpoint, steps),
    )
