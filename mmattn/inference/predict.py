"""Predict images that belong to no dataset: label maps, and the classes painted over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError, DataError
from mmattn.tasks import task_of

from .images import TestPipeline, find_images
from .model import build_model
from .prediction_files import check_outputs, write_class_names, write_label_map, write_overlay

if TYPE_CHECKING:
    import numpy as np
    import torch
    from mmengine.config import Config
    from torch import nn


def predict_images(
    cfg: Config,
    checkpoint: str | Path,
    images: Iterable[str | Path],
    out: str | Path,
    *,
    device: str | torch.device | None = None,
    opacity: float = 0.5,
    fuse: bool = True,
    allow_partial: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Predict images and write a label map and an overlay of each.

    Args:
        cfg: Config of a semantic segmentation model; its test pipeline prepares the images.
        checkpoint: File of the model's weights.
        images: Files and folders.
        out: Folder for ``STEM.png``, the index of each pixel's class (16 bits for more than 256
            classes), for ``STEM_overlay.jpg``, and for ``classes.json``, the names by index. It is
            created if it does not exist.
        device: Device of the model; a GPU if there is one.
        opacity: Opacity of the classes' colours, 0 to 1.
        fuse: Run the fused model where the network has one (``mmattn.layers.fuse``).
        allow_partial: Accept a checkpoint that lacks weights which inference uses.
        log: Called with one line for each image: its file and the classes by their share.

    Returns:
        Files of the label maps.

    Raises:
        ConfigError: The config has no test pipeline, or is not about semantic segmentation.
        DataError: An image is missing, two would have one name, or a result would take the place
            of an image; or, after all others were predicted, some images cannot be read.
        CheckpointError: The weights do not belong to the model.
    """
    import torch

    from mmattn.layers.fuse import fuse as fuse_model
    from mmattn.reports.painter import Painter

    task = task_of(cfg)
    if task.prediction != "pred_sem_seg":
        raise ConfigError(
            f"{cfg.filename or 'The config'} is about {task.name}; label maps of images can be "
            "predicted for semantic segmentation only"
        )
    files, out = find_images(images), Path(out)
    check_outputs(files, out)
    pipeline = TestPipeline(cfg)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model(cfg, checkpoint, device, allow_partial=allow_partial)
    if fuse:
        model = fuse_model(model)
    names = class_names(model)
    painter = Painter.of(names, (model.dataset_meta or {}).get("palette"), opacity)
    out.mkdir(parents=True, exist_ok=True)
    write_class_names(names, out)
    written, unread = [], []
    for file in files:
        try:
            prepared, pixels = pipeline(file)
        except DataError as error:
            unread.append(str(error))
            log(str(error))
            continue
        labels = predict_labels(model, prepared, len(names))
        written.append(write_label_map(labels, file, out))
        write_overlay(labels, pixels, painter, file, out)
        log(f"{file}: {_shares(labels, names)}")
    if unread:
        listed = "\n  ".join(unread)
        raise DataError(
            f"{len(unread)} of {len(files)} images cannot be read; {len(written)} label maps are "
            f"in {out}:\n  {listed}"
        )
    return written


def predict_labels(model: nn.Module, prepared: dict[str, Any], num_classes: int) -> np.ndarray:
    """Predict the class of each pixel of one image as it is stored.

    Args:
        model: Segmentation model.
        prepared: Output of the test pipeline for one image.
        num_classes: Number of classes, which decides about the type.

    Returns:
        (H, W) uint8, or uint16 for more than 256 classes.
    """
    import numpy as np
    import torch

    batch = {key: [value] for key, value in prepared.items()}
    with torch.no_grad():
        (sample,) = model.test_step(batch)
    dtype = np.uint8 if num_classes <= 256 else np.uint16
    return sample.pred_sem_seg.data[0].cpu().numpy().astype(dtype)


def class_names(model: nn.Module) -> list[str]:
    """Return the class names of the data that the model was trained on, else numbers."""
    known = list((model.dataset_meta or {}).get("classes") or ())
    return known or [f"class {index}" for index in range(max(2, model.out_channels))]


def _shares(labels: np.ndarray, names: list[str]) -> str:
    import numpy as np

    counts = np.bincount(labels.reshape(-1), minlength=len(names))
    order = [index for index in np.argsort(-counts, kind="stable").tolist() if counts[index]]
    return ", ".join(f"{names[i]} {counts[i] / labels.size:.1%}" for i in order[:5])
