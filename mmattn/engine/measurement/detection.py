"""Measure a trained detector for a report: on its validation set, as a validation does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.complexity import complexity_in_test
from mmattn.errors import ConfigError
from mmattn.evaluation.protocols import HasDetectionNumbers
from mmattn.inference.model import unwrap_model
from mmattn.reports.detection.run import DetectionRun, ExportedDetections
from mmattn.reports.run import ModelSize, Step

from .evaluate import evaluate_for_report, fields_of_run

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from mmattn.inference.predictor import Predictor
    from mmattn.reports.detection.numbers import DetectionNumbers


@dataclass(frozen=True)
class OpenedFile:
    """An exported file that is ready to detect.

    Attributes:
        path: Path of the file.
        predictor: The file in its runtime.
        parity: Report of its export, ``NAME.parity.json`` beside it.
    """

    path: Path
    predictor: Predictor
    parity: Mapping[str, Any]


def measure_run(
    config: str | Path,
    checkpoint: str | Path,
    *,
    exported: OpenedFile | None = None,
    num_images: int = 4,
    steps: Sequence[Step] = (),
) -> DetectionRun:
    """Evaluate a checkpoint on the validation set and collect what a report shows.

    Curves and training time come from the folder of the checkpoint's run, in which nothing is
    written.

    Args:
        config: Config of the run.
        checkpoint: Weights, in the folder of the run.
        exported: Exported file, which is measured on the same images.
        num_images: Number of the worst images to show.
        steps: Commands that led to the weights.

    Raises:
        MMAttnError: Config, data or checkpoint are wrong; the message says how.
        ConfigError: No metric of ``val_evaluator`` has numbers to report, or the exported file has
            other classes than the data.
    """
    size: ModelSize | None = None
    measured: ExportedDetections | None = None

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

    def before(runner: Runner) -> None:
        nonlocal size
        loader: Any = runner.test_dataloader
        if exported is not None:
            _check_classes(exported, loader.dataset)
        size = ModelSize(*complexity_in_test(unwrap_model(runner), loader.dataset[0]))

    def after(runner: Runner) -> None:
        nonlocal measured
        if exported is not None:
            measured = _measure_exported(exported, runner)

    reported = evaluate_for_report(config, checkpoint, choose, before=before, after=after)
    numbers = _numbers(reported)
    if not numbers:
        raise ConfigError(
            f"{config}: val_evaluator measures no boxes or masks, so there is nothing to report. "
            "Set its metric to 'bbox' or 'segm', and leave format_only and metric_items out."
        )
    return DetectionRun(
        numbers=numbers,
        exported=measured,
        size=size,
        num_images=next(iter(numbers.values())).num_images,
        **fields_of_run(config, checkpoint, steps),
    )


def _numbers(metrics: Sequence[HasDetectionNumbers]) -> dict[str, DetectionNumbers]:
    return {shape: found for metric in metrics for shape, found in metric.numbers.items()}


def _check_classes(exported: OpenedFile, dataset: Any) -> None:
    ours = list(dataset.metainfo.get("classes") or ())
    theirs = list(exported.predictor.classes)
    if ours != theirs:
        raise ConfigError(
            f"{exported.path} has the classes {', '.join(theirs[:5])}, the validation set "
            f"{', '.join(ours[:5])}: give the file that this checkpoint was exported to."
        )


def _measure_exported(exported: OpenedFile, runner: Runner) -> ExportedDetections:
    """Let the file detect in the images of a test, and the same metrics evaluate that.

    The images are read from their files: how they are resized is written in the exported file.
    """
    import torch
    from mmengine.structures import InstanceData

    loader: Any = runner.test_dataloader
    evaluator = runner.build_evaluator(runner.cfg.test_evaluator)
    evaluator.dataset_meta = loader.dataset.metainfo
    for batch in loader:
        for sample in batch["data_samples"]:
            found, _ = exported.predictor.predict_file(Path(sample.img_path))
            sample.pred_instances = InstanceData(
                bboxes=torch.as_tensor(found.boxes, dtype=torch.float32).reshape(-1, 4),
                scores=torch.as_tensor(found.scores, dtype=torch.float32),
                labels=torch.as_tensor(found.labels, dtype=torch.int64),
            )
        evaluator.process(data_samples=batch["data_samples"], data_batch=batch)
    evaluator.evaluate(len(loader.dataset))
    metrics = [one for one in evaluator.metrics if isinstance(one, HasDetectionNumbers)]
    return ExportedDetections(
        exported.path.name, exported.path.stat().st_size, exported.parity, _numbers(metrics)
    )
