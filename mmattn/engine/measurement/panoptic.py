"""Measure a trained panoptic model for a report: on its validation set, as a validation does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError
from mmattn.evaluation.protocols import HasDetectionNumbers, HasPanopticNumbers
from mmattn.reports.panoptic.run import PanopticRun
from mmattn.reports.run import Step

from .evaluate import evaluate_for_report, fields_of_run


def measure_run(
    config: str | Path,
    checkpoint: str | Path,
    *,
    num_images: int = 4,
    steps: Sequence[Step] = (),
) -> PanopticRun:
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

    def choose(metrics: Sequence[Any]) -> list[Any]:
        if not any(isinstance(metric, HasPanopticNumbers) for metric in metrics):
            names = ", ".join(type(metric).__name__ for metric in metrics)
            raise ConfigError(
                f"{config}: a report on panoptic segmentation is made of the panoptic metric, but "
                f"val_evaluator has {names}. Add dict(type='mmattn.ClasswisePanopticMetric', "
                "ann_file=FILE, seg_prefix=FOLDER) to it, with the annotations in COCO's panoptic "
                "form."
            )
        reported = [m for m in metrics if isinstance(m, (HasPanopticNumbers, HasDetectionNumbers))]
        for metric in reported:
            metric.worst = num_images
        return reported

    reported = evaluate_for_report(config, checkpoint, choose)
    numbers = next(
        (m.panoptic for m in reported if isinstance(m, HasPanopticNumbers) and m.panoptic), None
    )
    if numbers is None:
        raise ConfigError(
            f"{config}: val_evaluator only writes predictions, so there is nothing to report. "
            "Leave format_only out."
        )
    return PanopticRun(
        numbers=numbers,
        instances={shape: found for m in reported for shape, found in m.numbers.items()},
        num_images=numbers.num_images,
        **fields_of_run(config, checkpoint, steps),
    )
