"""Mosaic of four images and a random affine map of it, in one interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes

from mmattn.errors import ConfigError
from mmattn.registry import TRANSFORMS

from .affine import (
    RandomAffineRange,
    clip_boxes,
    map_boxes,
    matrix_of_pixels,
    scale_and_shift,
    worth_keeping,
)
from .instance_masks import StoredInstance, stored_masks
from .loaded_boxes import boxes_of, require_boxes


@TRANSFORMS.register_module()
class MosaicAffine(BaseTransform):
    """Join four images around a random point, and scale, shift, rotate and shear the whole.

    Four images are resized so that each fits ``scale``, laid around a point that is drawn from the
    middle half of a canvas of twice that size, and seen through an affine map that keeps the
    middle ``scale`` pixels of it. The same as mmdet's ``Mosaic`` and ``RandomAffine`` one after the
    other (YOLOv4, arXiv 2004.10934, section 3.4), but the canvas is never made: every image is
    drawn once, from its own pixels into its place in the output. ``tests`` hold the two-step form.

    Without a mosaic (``prob``) the image is laid into the middle of ``scale`` and the affine map
    is the same.

    It stands in the pipeline of an ``mmdet.MultiImageMixDataset``. Masks in the annotations are
    kept for :class:`FlipCopyPaste`, unseen by mmdet's own transforms.

    Args:
        scale: Width and height of the output.
        prob: Probability of a mosaic.
        affine: Arguments of :class:`RandomAffineRange`: ``degrees``, ``translate``, ``scale``,
            ``shear``.
        pad_val: Value where there is no image.
        min_size: Boxes whose width or height is not larger, in pixels, are left out.
        min_visible: Boxes of which no larger share is visible are left out.
        max_aspect_ratio: Boxes with a ratio of the sides that is not smaller are left out.

    Raises:
        ConfigError: An argument is out of range.

    Example:
        The pipeline of a ``MultiImageMixDataset``::

            dict(type="mmattn.MosaicAffine", scale=(640, 640), affine=dict(scale=0.5))
    """

    def __init__(
        self,
        scale: Sequence[int] = (640, 640),
        prob: float = 1.0,
        affine: dict[str, float] | None = None,
        pad_val: int = 114,
        min_size: float = 2.0,
        min_visible: float = 0.1,
        max_aspect_ratio: float = 100.0,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ConfigError(f"MosaicAffine: prob={prob} must lie between 0 and 1.")
        if len(scale) != 2 or min(scale) < 1:
            raise ConfigError(
                f"MosaicAffine: scale={scale} must be a width and a height in pixels."
            )
        try:
            self.affine = RandomAffineRange(**(affine or {}))
        except TypeError as error:
            raise ConfigError(
                f"MosaicAffine: affine={affine} may hold degrees, translate, scale and shear."
            ) from error
        if not 0 <= self.affine.scale < 1:
            raise ConfigError(
                f"MosaicAffine: affine.scale={self.affine.scale} must be at least 0 and below 1: "
                "images are scaled by 1 - scale to 1 + scale."
            )
        self.width, self.height = int(scale[0]), int(scale[1])
        self.prob = prob
        self.pad_val = pad_val
        self.limits = {
            "min_size": min_size,
            "min_visible": min_visible,
            "max_aspect_ratio": max_aspect_ratio,
        }

    def get_indexes(self, dataset: Any) -> list[int]:
        """Draw the three further images of a mosaic, or none; mmdet's dataset wrapper asks this."""
        if np.random.rand() >= self.prob:
            return []
        return np.random.randint(0, len(dataset), 3).tolist()

    def transform(self, results: dict) -> dict:
        """Return the joined image with its boxes, labels and flags.

        Args:
            results: With ``img`` (H, W, 3) or (H, W), ``gt_bboxes``, ``gt_bboxes_labels``,
                ``gt_ignore_flags``, and ``mix_results``, three more like it or none.

        Raises:
            ConfigError: The loading steps gave no boxes, labels or flags, or masks or maps, which
                would not follow the image.
        """
        samples = [results, *results.pop("mix_results", ())]
        for sample in samples:
            require_boxes(sample, "MosaicAffine")
        output = np.full(
            (self.height, self.width, *results["img"].shape[2:]),
            self.pad_val,
            results["img"].dtype,
        )
        canvas, placements = self._place([sample["img"].shape[:2] for sample in samples])
        to_output = self.affine.draw(canvas, (self.width, self.height))

        boxes: list[np.ndarray] = []
        masks: list[StoredInstance | None] = []
        moved = False
        for sample, placement in zip(samples, placements, strict=True):
            draw_warped(sample["img"], placement, canvas, to_output, output)
            stored = boxes_of(sample)
            boxes.append(clip_boxes(map_boxes(placement, stored), 0, 0, *canvas))
            found = stored_masks(sample, stored, to_output @ placement)
            moved |= found is None
            masks += [None] * len(stored) if found is None else found
        whole = map_boxes(to_output, np.concatenate(boxes))
        clipped = clip_boxes(whole, 0, 0, self.width, self.height)
        keep = worth_keeping(whole, clipped, **self.limits)

        results["img"] = output
        results["img_shape"] = output.shape[:2]
        results["gt_bboxes"] = HorizontalBoxes(clipped[keep].astype(np.float32))
        for key in ("gt_bboxes_labels", "gt_ignore_flags"):
            results[key] = np.concatenate([sample[key] for sample in samples])[keep]
        kept_masks = [mask for mask, kept in zip(masks, keep, strict=True) if kept]
        results["stored_masks"] = None if moved else kept_masks
        # They belong to the image as loaded, and must not be packed as if to this one.
        results.pop("instances", None)
        return results

    def _place(self, shapes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], list[np.ndarray]]:
        """Return the canvas's width and height, and the map of each image to the canvas."""
        fits = [min(self.width / w, self.height / h) for h, w in shapes]
        if len(shapes) == 1:
            (h, w), fit = shapes[0], fits[0]
            left, top = (self.width - w * fit) / 2, (self.height - h * fit) / 2
            return (self.width, self.height), [scale_and_shift(fit, left, top)]
        x = int(np.random.uniform(0.5, 1.5) * self.width)
        y = int(np.random.uniform(0.5, 1.5) * self.height)
        placements = []
        for index, ((h, w), fit) in enumerate(zip(shapes, fits, strict=True)):
            left = x if index % 2 else x - w * fit
            top = y if index >= 2 else y - h * fit
            placements.append(scale_and_shift(fit, left, top))
        return (2 * self.width, 2 * self.height), placements

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(scale=({self.width}, {self.height}), prob={self.prob}, "
            f"affine={self.affine}, pad_val={self.pad_val}, {self.limits})"
        )


def draw_warped(
    image: np.ndarray,
    placement: np.ndarray,
    canvas: tuple[int, int],
    to_output: np.ndarray,
    output: np.ndarray,
) -> None:
    """Draw the part of an image that lies on the canvas into the output.

    Args:
        image: (H, W, 3) or (H, W).
        placement: (3, 3) map from the image to the canvas: a scale and a shift.
        canvas: Width and height of the canvas; what lies beyond it is not drawn.
        to_output: (3, 3) map from the canvas to the output.
        output: Written in place.
    """
    height, width = image.shape[:2]
    fit, (shift_x, shift_y) = placement[0, 0], placement[:2, 2]
    # What is seen of the image, in its own pixels.
    left = int(np.clip(np.floor(-shift_x / fit), 0, width))
    top = int(np.clip(np.floor(-shift_y / fit), 0, height))
    right = int(np.clip(np.ceil((canvas[0] - shift_x) / fit), left, width))
    bottom = int(np.clip(np.ceil((canvas[1] - shift_y) / fit), top, height))
    if right - left < 1 or bottom - top < 1:
        return
    image = image[top:bottom, left:right]
    matrix = to_output @ placement @ scale_and_shift(1.0, left, top)

    # Where an image shrinks to less than half, bilinear sampling would skip pixels of it.
    shrink = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
    if shrink < 0.5:
        size = (
            max(1, round(image.shape[1] * shrink)),
            max(1, round(image.shape[0] * shrink)),
        )
        back = np.diag([image.shape[1] / size[0], image.shape[0] / size[1], 1.0])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        matrix = matrix @ back

    whole = np.array([[0.0, 0.0, image.shape[1], image.shape[0]]])
    around = clip_boxes(map_boxes(matrix, whole), 0, 0, *output.shape[1::-1])[0]
    # Upright images fill their place to its edge; of turned ones, OpenCV leaves out the pixels
    # whose neighbours are not all within the image.
    upright = not matrix[0, 1] and not matrix[1, 0]
    x1, y1, x2, y2 = around.round() if upright else [*np.floor(around[:2]), *np.ceil(around[2:])]
    x1, y1, x2, y2 = int(x1), int(y1), int(x2), int(y2)
    if x2 <= x1 or y2 <= y1:
        return
    cv2.warpAffine(
        image,
        (scale_and_shift(1.0, -x1, -y1) @ matrix_of_pixels(matrix))[:2],
        (x2 - x1, y2 - y1),
        dst=output[y1:y2, x1:x2],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if upright else cv2.BORDER_TRANSPARENT,
    )
