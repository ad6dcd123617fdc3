"""Copy-paste of an image's own instances, mirrored."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes

from mmattn.errors import ConfigError
from mmattn.registry import TRANSFORMS

from .loaded_boxes import boxes_of


@TRANSFORMS.register_module()
class FlipCopyPaste(BaseTransform):
    """Paste mirrored copies of an image's instances where they cover little.

    Instances are taken from the mirror image of the image itself. Those whose mirrored box covers
    no box of the image by ``max_covered`` of that box's area or more may be pasted; of these,
    ``prob`` times their number, rounded, are drawn and pasted with their masks (simple copy-paste,
    arXiv 2012.07177, with the image's own mirror image as the source).

    It comes after :class:`MosaicAffine`, which keeps the masks: polygons and run-length encodings.
    Images without masks pass unchanged. Boxes to be ignored, such as COCO's crowds, are not pasted.

    Args:
        prob: Share of the instances that may be pasted which are.
        max_covered: Share of a box that a pasted one may not reach.

    Raises:
        ConfigError: An argument lies outside 0 to 1.
    """

    def __init__(self, prob: float = 0.1, max_covered: float = 0.3) -> None:
        for name, value in (("prob", prob), ("max_covered", max_covered)):
            if not 0 <= value <= 1:
                raise ConfigError(f"FlipCopyPaste: {name}={value} must lie between 0 and 1.")
        self.prob = prob
        self.max_covered = max_covered

    def transform(self, results: dict) -> dict:
        """Paste into ``img`` and add boxes, labels and flags of what was pasted.

        Raises:
            ConfigError: There is no ``MosaicAffine`` before it, or another step before it moved the
                image, which the masks do not follow.
        """
        if "stored_masks" not in results:
            raise ConfigError(
                "FlipCopyPaste needs the masks that MosaicAffine keeps: write it right behind "
                "MosaicAffine in the pipeline"
            )
        masks = results.pop("stored_masks")
        if not self.prob:
            return results
        if masks is None or results.get("flip"):
            raise ConfigError(
                f"FlipCopyPaste: the boxes of {results.get('img_path')}, or of an image mixed with "
                "it, were changed behind their loading, by Resize, RandomFlip or the like, and the "
                "masks do not follow them: write such steps behind FlipCopyPaste"
            )
        boxes = boxes_of(results).astype(np.float32)
        with_mask = np.array([mask is not None for mask in masks], dtype=bool)
        with_mask &= ~np.asarray(results["gt_ignore_flags"], dtype=bool)
        if not with_mask.any():
            return results

        image = results["img"]
        height, width = image.shape[:2]
        mirrored = boxes.copy()
        mirrored[:, [0, 2]] = width - boxes[:, [2, 0]]
        covered = covered_shares(boxes, mirrored).max(0)
        free = np.flatnonzero(with_mask & (covered < self.max_covered))
        count = round(self.prob * len(free))
        if not count:
            return results

        chosen = np.random.choice(free, count, replace=False)
        mirror_image = image[:, ::-1]
        pasted = np.zeros((height, width), dtype=bool)
        for index in chosen:
            pasted |= masks[index].bitmap((height, width))[:, ::-1]
        results["img"] = np.where(
            pasted[..., None] if image.ndim == 3 else pasted, mirror_image, image
        )
        results["gt_bboxes"] = HorizontalBoxes(np.concatenate([boxes, mirrored[chosen]]))
        for key in ("gt_bboxes_labels", "gt_ignore_flags"):
            results[key] = np.concatenate([results[key], results[key][chosen]])
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob}, max_covered={self.max_covered})"


def covered_shares(boxes: np.ndarray, covering: np.ndarray) -> np.ndarray:
    """Return the share of each box that each covering box hides.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        covering: (M, 4) x1, y1, x2, y2.

    Returns:
        (N, M), intersection over the area of ``boxes``.
    """
    low = np.maximum(boxes[:, None, :2], covering[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], covering[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
    return shared / np.maximum(area, 1e-9)[:, None]
