"""Masks of instances that stay as they are stored until their pixels are needed.

A mosaic of four COCO images has some thirty instances, of which copy-paste uses a few: warping
thirty bitmaps would cost more than all the rest of the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from mmattn.io.plain_data import is_number

from .affine import map_points, matrix_of_pixels


@dataclass(frozen=True)
class StoredInstance:
    """The mask of an instance as COCO stores it, and where it lies in the augmented image.

    Attributes:
        segmentation: Polygons (flat lists of x, y), a run-length encoding (``counts`` as list,
            str or bytes, and ``size``), or a bitmap (H, W).
        size: Height and width of the image that the segmentation belongs to.
        matrix: (3, 3) map from that image to the augmented one.
    """

    segmentation: Any
    size: tuple[int, int]
    matrix: np.ndarray

    def bitmap(self, shape: tuple[int, int]) -> np.ndarray:
        """Draw the mask.

        Args:
            shape: Height and width of the augmented image.

        Returns:
            (H, W) bool.
        """
        if is_polygons(self.segmentation):
            # OpenCV's fillPoly counts from the middle of pixel (0, 0) and fills the outline too,
            # which moves masks by half a pixel and makes them wider.
            from pycocotools import mask as coco_mask

            polygons = [
                map_points(self.matrix, np.asarray(polygon, float).reshape(-1, 2)).ravel().tolist()
                for polygon in self.segmentation
            ]
            # Polygons of one instance may overlap, and add up.
            whole: Any = coco_mask.merge(coco_mask.frPyObjects(polygons, *shape))
            drawn = coco_mask.decode([whole])[..., 0]
        else:
            drawn = cv2.warpAffine(
                stored_bitmap(self.segmentation, self.size),
                matrix_of_pixels(self.matrix)[:2],
                shape[::-1],
                flags=cv2.INTER_NEAREST,
            )
        return drawn.astype(bool)


def is_polygons(segmentation: Any) -> bool:
    """Return whether a segmentation is a list of polygons."""
    return isinstance(segmentation, Sequence) and not isinstance(segmentation, (str, bytes))


def stored_bitmap(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Decode a run-length encoding, compressed or not, to (H, W) uint8; bitmaps pass.

    Args:
        segmentation: Run-length encoding as COCO stores it, or a bitmap.
        size: Height and width of the image.
    """
    if not isinstance(segmentation, Mapping):
        return np.asarray(segmentation, np.uint8)
    from pycocotools import mask as coco_mask

    encoded: Any = segmentation
    if isinstance(encoded["counts"], list):
        encoded = coco_mask.frPyObjects(encoded, *size)
    # A list of one, since of a single mask pycocotools warns about itself.
    return coco_mask.decode([encoded])[..., 0]


def stored_masks(
    results: Mapping[str, Any], boxes: np.ndarray, matrix: np.ndarray
) -> list[StoredInstance | None] | None:
    """Return the masks of an image's instances in the order of its boxes, None where one has none.

    They are taken from ``results["instances"]``, which datasets of mmdet fill with ``mask`` where
    the annotations have it; the loading step turns each into a box, in the same order.

    Args:
        results: What the loading steps made of an image.
        boxes: (N, 4) boxes of the image.
        matrix: (3, 3) map from the image to the augmented one.

    Returns:
        One for each box; None instead of a list where there are masks, but the boxes are no longer
        those that were loaded: nobody knows where the masks belong.
    """
    instances = results.get("instances") or ()
    usable = [is_usable(instance.get("mask")) for instance in instances]
    if not any(usable):
        return [None] * len(boxes)
    loaded = [instance.get("bbox", box) for instance, box in zip(instances, boxes, strict=False)]
    if len(instances) != len(boxes) or not np.allclose(loaded, boxes, atol=1e-2):
        return None
    size = tuple(results["img"].shape[:2])
    return [
        StoredInstance(instance["mask"], size, matrix) if use else None
        for instance, use in zip(instances, usable, strict=True)
    ]


def is_usable(mask: Any) -> bool:
    """Return whether a stored segmentation has an area: polygons of three points or runs."""
    if isinstance(mask, Mapping):
        return bool(mask.get("counts")) and bool(mask.get("size"))
    if is_polygons(mask):
        return bool(len(mask)) and all(_is_outline(one) for one in mask)
    return isinstance(mask, np.ndarray) and mask.ndim == 2


def _is_outline(points: Any) -> bool:
    """Return whether a value is x and y by turns of three points or more."""
    if not isinstance(points, np.ndarray):
        if not is_polygons(points) or not all(map(is_number, points)):
            return False
        points = np.asarray(points, float)
    return points.ndim == 1 and len(points) >= 6 and len(points) % 2 == 0
