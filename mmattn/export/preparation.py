"""What a test pipeline and a data preprocessor do to an image before an exported file, in numpy.

A file holds the normalisation alone; resizing and padding are done here, as its metadata say, and
undone for its results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mmattn.config.walk import innermost_dataset
from mmattn.errors import ExportError
from mmattn.type_names import bare_name

from .metadata import ExportMetadata

if TYPE_CHECKING:
    from mmengine.config import Config

#: Steps of a pipeline that leave the image as it is, or are treated elsewhere.
_OTHER_STEPS = ("Load", "Pack", "Resize")


@dataclass(frozen=True)
class Prepared:
    """An image as an exported file takes it.

    Attributes:
        pixels: (h, w, 3) RGB, uint8, or float32 where the padding has fractions.
        content: Height and width of the resized image within it, at the left and top.
        original: Height and width of the image before.
    """

    pixels: np.ndarray
    content: tuple[int, int]
    original: tuple[int, int]

    def undo_boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Return boxes (N, 4) in pixels of the original image, cut at its border."""
        height, width = self.original
        scale = np.array([width / self.content[1], height / self.content[0]] * 2, np.float32)
        limits = np.array([width, height] * 2, np.float32)
        return np.clip(boxes * scale, 0, limits)


def find_test_pad(cfg: Config) -> list[dict[str, Any]] | None:
    """Return how images are padded, after resizing, by the test pipeline and by the model.

    Returns:
        Steps in their order, each with ``size`` ([width, height] or None), ``square``,
        ``size_divisor`` and ``value``, the RGB triple in 0..255 that is filled in at the right and
        at the bottom. A step of the pipeline that is neither of these nor resizing has only its
        ``type``: whoever runs the file has to do it. None where there is no step.
    """
    loader = cfg.get("test_dataloader") or cfg.get("val_dataloader")
    pipeline = innermost_dataset(loader["dataset"]).get("pipeline") if loader else None
    steps = []
    for step in pipeline or ():
        name = bare_name(step.get("type")) or ""
        if name == "Pad":
            steps.append(_pad_step(step))
        elif not any(part in name for part in _OTHER_STEPS):
            steps.append({"type": name})
    steps += _preprocessor_step(cfg.model.get("data_preprocessor") or {})
    return steps or None


def _pad_step(step: Mapping[str, Any]) -> dict[str, Any]:
    value = step.get("pad_val", 0)
    value = value.get("img", 0) if isinstance(value, Mapping) else value
    bgr = [float(v) for v in value] if isinstance(value, (list, tuple)) else [float(value)] * 3
    size = step.get("size")
    return {
        "size": [int(side) for side in size] if size else None,
        "square": bool(step.get("pad_to_square", False)),
        "size_divisor": int(step.get("size_divisor") or 1),
        "value": bgr[::-1],
    }


def _preprocessor_step(preprocessor: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the padding of the data preprocessor; it comes after the normalisation."""
    test_cfg = preprocessor.get("test_cfg") or {}
    divisor = int(preprocessor.get("pad_size_divisor") or test_cfg.get("size_divisor") or 1)
    if divisor == 1:
        return []
    value = float(preprocessor.get("pad_value", preprocessor.get("pad_val", 0)) or 0)
    mean = list(preprocessor.get("mean") or [0.0] * 3)
    std = list(preprocessor.get("std") or [1.0] * 3)
    colour = [float(m) + value * float(s) for m, s in zip(mean, std, strict=True)]
    if not preprocessor.get("bgr_to_rgb"):
        colour = colour[::-1]
    return [{"size": None, "square": False, "size_divisor": divisor, "value": colour}]


def prepare(image: np.ndarray, metadata: ExportMetadata, source: str) -> Prepared:
    """Resize and pad an image as the config's test does.

    Args:
        image: (H, W, 3) uint8 RGB
        metadata: Metadata of the file.
        source: Path of the file, used in messages.

    Raises:
        ExportError: The test prepares images in a way that is not known here, or the file takes
            one size alone, which the image is too large for.
    """
    resized = _resize(image, metadata.test_resize, source)
    content = resized.shape[:2]
    fill = [0.0, 0.0, 0.0]
    for step in metadata.test_pad or ():
        if "type" in step:
            raise ExportError(
                f"{source}: the config's test pipeline has {step['type']}, which is not in the "
                "file and not known here; prepare the images as it does and run the file with "
                "mmattn.export.load_exported"
            )
        fill = step["value"]
        resized = _pad(resized, *padded_size(resized.shape[:2], step), fill)
    divisor = metadata.size_divisor
    height, width = (-(-side // divisor) * divisor for side in resized.shape[:2])
    if not metadata.dynamic:
        allowed = metadata.shape
        if height > allowed[0] or width > allowed[1]:
            raise ExportError(
                f"{source}: the file takes {allowed[0]} x {allowed[1]} pixels alone, and the test "
                f"pipeline makes {height} x {width} of this image; export with --dynamic"
            )
        height, width = allowed
    return Prepared(_pad(resized, height, width, fill), content, image.shape[:2])


def _resize(image: np.ndarray, how: Mapping[str, Any] | None, source: str) -> np.ndarray:
    """Resize as mmcv's ``Resize`` does, bilinearly."""
    if not how:
        return image
    if "type" in how:
        raise ExportError(
            f"{source}: the config's test pipeline resizes images by {how['type']}, which is not "
            "known here; resize them as it does and run the file with mmattn.export.load_exported"
        )
    height, width = image.shape[:2]
    if how.get("scale") is None:
        factor = how["scale_factor"]
        across, down = factor if isinstance(factor, list) else (factor, factor)
        limits = int(width * float(across) + 0.5), int(height * float(down) + 0.5)
    else:
        limits = tuple(how["scale"])
    if how["keep_ratio"]:
        factor = min(max(limits) / max(height, width), min(limits) / min(height, width))
        limits = int(width * factor + 0.5), int(height * factor + 0.5)
    if limits == (width, height):
        return image
    return cv2.resize(image, (int(limits[0]), int(limits[1])), interpolation=cv2.INTER_LINEAR)


def padded_size(size: tuple[int, int], step: Mapping[str, Any]) -> tuple[int, int]:
    """Return the (height, width) that a step of ``find_test_pad`` pads to."""
    height, width = size
    if step["square"]:
        height = width = max(height, width)
    if step["size"]:
        width, height = max(width, step["size"][0]), max(height, step["size"][1])
    divisor = step["size_divisor"]
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def _pad(image: np.ndarray, height: int, width: int, value: list[float]) -> np.ndarray:
    """Pad (H, W, 3) at the right and at the bottom."""
    if image.shape[:2] == (height, width):
        return image
    whole = all(float(v).is_integer() for v in value)
    padded = np.empty((height, width, 3), image.dtype if whole else np.float32)
    padded[:] = value
    padded[: image.shape[0], : image.shape[1]] = image
    return padded
