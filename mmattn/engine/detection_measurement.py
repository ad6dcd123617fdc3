"""Measure a trained detector for a report: on its validation set, as a validation does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError
from mmattn.evaluation.protocols import HasDetectionNumbers
from mmattn.reports.detection.run import DetectionRun
from mmattn.reports.run import Step

from .run_measurement import evaluate_for_report, run_facts


def measure_run(
    config: str | Path,
    checkpoint: str | Path,
    *,
    num_images: int = 4,
    steps: Sequence[Step] = (),
) -> DetectionRun:
    """Evaluate a checkpoint on the validation set and collect what a report shows.

    Curves and training time come from the folder of the checkpoint's run, in which nothing is
    written.

    Args:
        config: Config of the run.
        checkpoint: Weights, in the folder of the run.
        num_images: Number of the worst images to show.
        steps: Commands that led to the weights.

    Raises:
        MMAttnError: Config, data or checkpoint are wrong; the message says how.
        ConfigError: No metric of ``val_evaluator`` has numbers to report.
    """

    def choose(metrics: Sequence[Any]) -> list[HasDetectionNumbers]:
        reported = [metric for metric in metrics if isinstance(metric, HasDetectionNumbers)]
        if not reported:
            names = ", ".join(type(metric).__name__ for metric in metrics)
            raise ConfigError(
                f"{config}: a report on a detector is made of COCO's metric, but val_evaluator has "
                f"{names}. Add dict(type='mmdet.CocoMetric', metric='bbox', ann_file=FILE) to it, "
                "with the annotations in COCO's format."
            )
        for metric in reported:
            metric.worst = num_images
        return reported

    reported = evaluate_for_report(config, checkpoint, choose)
    numbers = {shape: found for metric in reported for shape, found in metric.numbers.items()}
    if not numbers:
        raise ConfigError(
            f"{config}: val_evaluator measures no boxes or masks, so there is nothing to report. "
            "Set its metric to 'bbox' or 'segm', and leave format_only and metric_items out."
        )
    return DetectionRun(
        numbers=numbers,
        num_images=next(iter(numbers.values())).num_images,
        **run_facts(config, checkpoint, steps),
    )
