"""Measure a trained semantic model of mmdet for a report, as a validation does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError
from mmattn.evaluation.semantic.class_ious import ClassIoUs
from mmattn.evaluation.semantic.classwise_iou import ClasswiseIoUMetric
from mmattn.evaluation.semantic.worst_images import decode_label_map
from mmattn.reports import SegmentationRun
from mmattn.reports.painter import read_photograph
from mmattn.reports.run import Step
from mmattn.reports.semantic.run import Sample

from .evaluate import evaluate_for_report, fields_of_run


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
        trained=ClassIoUs.of(metric.confusion, metric.dataset_meta["classes"]),
        palette=metric.dataset_meta.get("palette") or (),
        num_images=len(metric.areas),
        samples=samples,
        **fields_of_run(config, checkpoint, steps),
    )
