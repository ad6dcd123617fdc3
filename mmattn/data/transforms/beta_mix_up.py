"""MixUp of two augmented images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes

from mmattn.errors import ConfigError
from mmattn.registry import TRANSFORMS

from .loaded_boxes import boxes_of, require_boxes


@TRANSFORMS.register_module()
class BetaMixUp(BaseTransform):
    """Blend an image with another one that went through the same steps, and join their boxes.

    ``img = r · img + (1 - r) · other`` with r from a Beta distribution (arXiv 1710.09412; detectors
    take all boxes at full weight). mmdet's ``MixUp`` blends half and half with a resized image
    instead, as YOLOX does.

    It stands in the pipeline of an ``mmdet.MultiImageMixDataset``, after the steps of the image
    itself; ``transforms`` repeats those for the other image.

    Args:
        transforms: Steps for the other image. At most one may mix images, and it comes first.
        prob: Probability that an image is blended.
        alpha: Both parameters of the Beta distribution; 32 keeps r near one half.

    Raises:
        ConfigError: An argument is out of range, or two of the steps mix images.
    """

    def __init__(self, transforms: Sequence[dict], prob: float = 0.15, alpha: float = 32.0) -> None:
        if not 0 <= prob <= 1:
            raise ConfigError(f"BetaMixUp: prob={prob} must lie between 0 and 1.")
        if alpha <= 0:
            raise ConfigError(f"BetaMixUp: alpha={alpha} must be above 0.")
        self.prob = prob
        self.alpha = alpha
        self.transforms = [TRANSFORMS.build(step) for step in transforms]
        mixing = [step for step in self.transforms if hasattr(step, "get_indexes")]
        if len(mixing) > 1 or (mixing and mixing[0] is not self.transforms[0]):
            names = [type(step).__name__ for step in mixing]
            raise ConfigError(
                f"BetaMixUp: of its transforms the first alone may mix images, but {names} do."
            )
        self.mixing = mixing[0] if mixing else None

    def get_indexes(self, dataset: Any) -> list[int]:
        """Draw the other image, and those that its own steps mix in; none without a blend."""
        if np.random.rand() >= self.prob:
            return []
        other = int(np.random.randint(0, len(dataset)))
        return [other, *(self.mixing.get_indexes(dataset) if self.mixing else ())]

    def transform(self, results: dict) -> dict:
        """Blend ``img`` with the image of ``mix_results``, if there is one.

        Raises:
            ConfigError: The two images have different shapes, or come without boxes, labels or
                flags.
        """
        drawn = results.pop("mix_results", ())
        if not drawn:
            return results
        other = drawn[0]
        other["mix_results"] = list(drawn[1:])
        for step in self.transforms:
            other = step(other)
        for sample in (results, other):
            require_boxes(sample, "BetaMixUp")
        if other["img"].shape != results["img"].shape:
            raise ConfigError(
                f"BetaMixUp: images of shapes {results['img'].shape} and {other['img'].shape} "
                "cannot be blended: give its transforms the size of the steps before it."
            )
        ratio = np.random.beta(self.alpha, self.alpha)
        results["img"] = blend(results["img"], other["img"], ratio)
        boxes = np.concatenate([boxes_of(results), boxes_of(other)]).astype(np.float32)
        results["gt_bboxes"] = HorizontalBoxes(boxes)
        results.pop("stored_masks", None)  # they are of one image alone
        for key in ("gt_bboxes_labels", "gt_ignore_flags"):
            results[key] = np.concatenate([results[key], other[key]])
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob}, alpha={self.alpha}, {self.transforms})"


def blend(image: np.ndarray, other: np.ndarray, ratio: float) -> np.ndarray:
    """Return ratio · image + (1 - ratio) · other in the image's type, rounded."""
    mixed = image.astype(np.float32) * ratio + other.astype(np.float32) * (1 - ratio)
    return mixed.round().astype(image.dtype) if image.dtype.kind in "ui" else mixed
