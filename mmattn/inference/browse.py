"""Draw what a training sees: samples behind the pipeline, with their boxes, masks and classes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mmattn.detections import Detections, draw_detections
from mmattn.errors import ConfigError, DataError
from mmattn.palette import complete_palette
from mmattn.reports.legend import with_legend
from mmattn.reports.overlays import save_image
from mmattn.reports.painter import Painter
from mmattn.reports.sheets import text_row

from .datasets import build_dataset

if TYPE_CHECKING:
    from mmengine.config import Config

_OPACITY = 0.5
#: Longer side of an image in the contact sheet, and gap between two, in pixels.
_THUMBNAIL, _GAP = 320, 8


def browse(
    cfg: Config,
    out: str | Path,
    *,
    split: str = "train",
    num: int = 12,
    times: int = 1,
    seed: int = 0,
) -> list[Path]:
    """Write samples of a split as images, and a sheet with all of them.

    Args:
        cfg: Whole config of a detector or a segmentor.
        out: Folder of the images.
        split: ``train``, ``val`` or ``test``.
        num: Samples, evenly spread over the dataset.
        times: How often each is augmented.
        seed: Seed of the augmentation.

    Returns:
        The files, ``NUMBER_STEM.jpg``; ``contact_sheet.jpg`` shows all, with a legend of the
        classes in them.

    Raises:
        ConfigError: There is no such dataset, or its samples are not single images.
        DataError: The folder cannot be written to.
    """
    dataset = build_dataset(cfg, split)
    classes = tuple((getattr(dataset, "metainfo", None) or {}).get("classes") or ())
    palette = complete_palette(
        (getattr(dataset, "metainfo", None) or {}).get("palette") or (), len(classes)
    )
    _seed(seed)
    count = min(num, len(dataset))
    indices = [index * len(dataset) // count for index in range(count)]
    folder, written, thumbnails = Path(out), [], []
    seen: set[int] = set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index in (index for index in indices for _ in range(times)):
            sample = dataset[index]
            image = draw_sample(sample, classes, palette, rgb=_is_rgb(cfg))
            stem = Path(sample["data_samples"].metainfo.get("img_path") or f"sample_{index}").stem
            file = folder / f"{len(written):03}_{stem}.jpg"
            save_image(image, file, jpeg_quality=90)
            written.append(file)
            thumbnails.append(_thumbnail(image, file.stem))
            seen |= _classes_in(sample["data_samples"])
        legend = [(classes[n], palette[n]) for n in sorted(seen) if n < len(classes)]
        sheet = with_legend(_sheet(thumbnails), legend, shown=len(legend))
        save_image(sheet, folder / "contact_sheet.jpg", jpeg_quality=90)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error
    return written


def draw_sample(
    sample: dict[str, Any],
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    *,
    rgb: bool = False,
) -> np.ndarray:
    """Draw one sample as a pipeline packs it.

    Args:
        sample: ``inputs``, (3, H, W), and ``data_samples`` with the ground truth.
        classes: Names of the classes.
        palette: RGB per class.
        rgb: Whether ``inputs`` is RGB; BGR otherwise, as mmcv loads it.

    Returns:
        (H, W, 3) uint8 RGB

    Raises:
        ConfigError: ``inputs`` is not one image.
    """
    inputs, truth = sample.get("inputs"), sample.get("data_samples")
    shape = tuple(getattr(inputs, "shape", ()))
    if inputs is None or truth is None or len(shape) != 3 or shape[0] not in (1, 3):
        what = f"of shape {shape}" if shape else f"a {type(inputs).__name__}"
        raise ConfigError(f"A sample of this dataset is no single image: its inputs are {what}.")
    image = _pixels(inputs.numpy())
    image = np.ascontiguousarray(image if rgb else image[..., ::-1])
    labels = _labels(truth)
    if labels is not None:
        image = Painter(tuple(classes), list(palette), _OPACITY).paint(image, labels)
    objects = truth.get("gt_instances")
    if objects is None or len(objects) == 0:
        return image
    numbers = objects.labels.numpy()
    masks = objects.get("masks")
    if masks is not None:
        image = _with_masks(image, masks.to_ndarray(), numbers, palette)
    boxes = getattr(objects.bboxes, "tensor", objects.bboxes).numpy()
    found = Detections.of(boxes, np.ones(len(boxes), np.float32), numbers)
    return draw_detections(image, found, classes, palette, scores=False)


def _pixels(image: np.ndarray) -> np.ndarray:
    """Return (C, H, W) as (H, W, 3) uint8; an image that is normalised already is stretched."""
    image = np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        if low < 0 or high > 255 or high <= 10:
            image = (image - low) * (255 / max(high - low, 1e-6))
    return image.astype(np.uint8).transpose(1, 2, 0)


def _labels(truth: Any) -> np.ndarray | None:
    """Return the label map, (H, W), of semantic or panoptic segmentation."""
    found = truth.get("gt_sem_seg")
    data = getattr(found, "data", None)
    if data is None:  # mmdet's name
        data = getattr(found, "sem_seg", None)
    return None if data is None else data.numpy().reshape(data.shape[-2:]).astype(np.int64)


def _classes_in(truth: Any) -> set[int]:
    """Return the classes of the pixels and objects of a sample."""
    labels, objects = _labels(truth), truth.get("gt_instances")
    seen = set() if labels is None else set(np.unique(labels).tolist())
    return seen if objects is None else seen | set(objects.labels.tolist())


def _with_masks(
    image: np.ndarray, masks: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """Paint the masks, (N, H, W), in the colours of their classes."""
    painted = image.astype(np.float32)
    for mask, label in zip(masks.astype(bool), labels, strict=True):
        colour = np.asarray(palette[label], np.float32)
        painted[mask] = (1 - _OPACITY) * painted[mask] + _OPACITY * colour
    return painted.astype(np.uint8)


def _is_rgb(cfg: Config) -> bool:
    """Return whether the model takes RGB and turns it round itself."""
    preprocessor = cfg.get("data_preprocessor") or (cfg.get("model") or {}).get("data_preprocessor")
    return bool((preprocessor or {}).get("rgb_to_bgr"))


def _seed(seed: int) -> None:
    import torch

    random.seed(seed)
    np.random.seed(seed)  # what mmcv's transforms draw from
    torch.manual_seed(seed)


def _thumbnail(image: np.ndarray, name: str) -> np.ndarray:
    """Return the image with its name below, (H, 320, 3); H is what its longer side leaves."""
    height, width = image.shape[:2]
    scale = _THUMBNAIL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    tile = np.full((size[1], _THUMBNAIL, 3), 255, np.uint8)
    tile[:, : size[0]] = small
    return np.vstack([tile, text_row(_THUMBNAIL, name)])


def _sheet(thumbnails: Sequence[np.ndarray]) -> np.ndarray:
    """Return the images in rows, with gaps between them and around."""
    columns = math.ceil(math.sqrt(len(thumbnails)))
    width, rows = columns * (_THUMBNAIL + _GAP) + _GAP, []
    for begin in range(0, len(thumbnails), columns):
        tiles = thumbnails[begin : begin + columns]
        row = np.full((_GAP + max(len(tile) for tile in tiles), width, 3), 255, np.uint8)
        for column, tile in enumerate(tiles):
            left = _GAP + column * (_THUMBNAIL + _GAP)
            row[_GAP : _GAP + len(tile), left : left + _THUMBNAIL] = tile
        rows.append(row)
    return np.vstack(rows)
