"""The images of a batch as a training gets them, made ready to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmattn.reports.batch_sheet import TrainingImage
from mmattn.reports.detection.numbers import DrawnObject


def training_images(batch: Any, num_classes: int, limit: int) -> list[TrainingImage]:
    """Return the first images of a batch with their ground truth, as the pipeline made them.

    Args:
        batch: What a data loader yields: ``inputs``, an image of (C, H, W) each, and
            ``data_samples`` of mmdet or mmseg.
        num_classes: K; labels beyond it are not drawn.
        limit: Largest number of images.

    Returns:
        The images; none of a batch of another form, such as one of several views of an image.
    """
    if not isinstance(batch, Mapping):
        return []
    inputs, samples = batch.get("inputs"), batch.get("data_samples")
    if not isinstance(inputs, (list, tuple, Tensor)) or not isinstance(samples, Sequence):
        return []
    found = []
    for image, sample in zip(inputs[:limit], samples, strict=False):
        if not isinstance(image, Tensor) or image.dim() != 3:
            return found
        found.append(
            TrainingImage(
                _pixels(image),
                Path(str(getattr(sample, "img_path", ""))).name,
                _labels(sample),
                _objects(sample, num_classes),
            )
        )
    return found


def _pixels(image: Tensor) -> np.ndarray:
    """(C, H, W) in any range, blue first as OpenCV reads it -> (H, W, 3) uint8 RGB."""
    values = image.detach().cpu()
    if values.is_floating_point():
        low, high = float(values.min()), float(values.max())
        if low < 0 or high <= 2:  # normalised by the pipeline
            values = (values - low) / max(high - low, 1e-9) * 255
    pixels = values.clamp(0, 255).byte().permute(1, 2, 0).numpy()
    if pixels.shape[2] < 3:
        pixels = np.repeat(pixels[..., :1], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])


def _labels(sample: Any) -> np.ndarray | None:
    plane = getattr(getattr(sample, "gt_sem_seg", None), "data", None)
    if plane is None:
        plane = getattr(getattr(sample, "gt_sem_seg", None), "sem_seg", None)
    if not isinstance(plane, Tensor):
        return None
    return plane.detach().cpu().reshape(plane.shape[-2:]).numpy().astype(np.int64)


def _objects(sample: Any, num_classes: int) -> tuple[DrawnObject, ...]:
    instances = getattr(sample, "gt_instances", None)
    boxes = getattr(instances, "bboxes", None)
    if boxes is None or not len(boxes):
        return ()
    corners = getattr(boxes, "tensor", boxes).detach().cpu().numpy().reshape(len(boxes), -1)
    labels = instances.labels.detach().cpu().tolist()
    masks = getattr(instances, "masks", None)
    maps = masks.to_ndarray() if masks is not None and len(masks) == len(labels) else None
    return tuple(
        DrawnObject(
            label,
            (float(x0), float(y0), float(x1 - x0), float(y1 - y0)),
            True,
            mask=None if maps is None else maps[place].astype(bool),
        )
        for place, (label, (x0, y0, x1, y1)) in enumerate(
            zip(labels, corners[:, :4].tolist(), strict=True)
        )
        if 0 <= label < num_classes
    )
