"""Measure a trained semantic segmentation model, and its exported file, for a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmattn.complexity import complexity_in_test
from mmattn.config import load_config
from mmattn.environment import collect_env
from mmattn.inference import build_model
from mmattn.layers.fuse import fuse
from mmattn.reports import SegmentationRun
from mmattn.reports.curves import history_of_run
from mmattn.reports.run import ModelSize, Step
from mmattn.reports.semantic.run import Sample

from .accuracy import class_ious, exported_predictor, torch_predictor
from .exported_model import load_exported
from .parity import read_parity
from .validation_set import validation_pairs


def measure_run(
    config: str | Path,
    checkpoint: str | Path,
    *,
    exported_file: str | Path | None = None,
    num_images: int = 4,
    steps: Sequence[Step] = (),
) -> SegmentationRun:
    """Measure accuracy on the validation set, as a test does, and collect what a report shows.

    Curves and training time come from the folder of the checkpoint's run.

    Args:
        config: Config of the run.
        checkpoint: Weights, in the folder of the run.
        exported_file: Exported file, with the report of its export, ``NAME.parity.json``,
            beside it.
        num_images: Number of images, evenly spread, whose predictions are shown.
        steps: Commands that led to the files.

    Raises:
        DataError: The validation set is not there.
        ExportError: The exported file cannot be run, or has no report beside it.
    """
    cfg = load_config(config)
    parity = read_parity(exported_file) if exported_file else None
    model, pairs = build_model(cfg, checkpoint), validation_pairs(cfg)
    classes, palette = (model.dataset_meta.get(key) or () for key in ("classes", "palette"))
    first = pairs[0][0]
    sample = {"inputs": first.inputs, "data_samples": first.sample}
    size = ModelSize(*complexity_in_test(model, sample))
    predict = torch_predictor(fuse(model))
    exported, predict_exported = None, None
    if exported_file:
        predict_exported = exported_predictor(load_exported(exported_file), model)
        exported = class_ious(predict_exported, pairs, classes)
    samples = []
    for index in np.linspace(0, len(pairs) - 1, num_images).round().astype(int):
        image, truth = pairs[int(index)]
        answer = None if predict_exported is None else predict_exported(image)
        samples.append(Sample(image.read_pixels(), truth, predict(image), answer))
    return SegmentationRun(
        title=Path(config).stem,
        trained=class_ious(predict, pairs, classes),
        palette=palette,
        num_images=len(pairs),
        exported=exported,
        **history_of_run(Path(checkpoint).parent, cfg),
        samples=samples,
        parity=parity,
        size=size,
        file_bytes=Path(exported_file).stat().st_size if exported_file else None,
        steps=list(steps),
        environment=collect_env(),
    )
