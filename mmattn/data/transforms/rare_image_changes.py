"""Blur, grey and contrast, each rarely."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmattn.errors import ConfigError, DataError
from mmattn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RareImageChanges(BaseTransform):
    """Blur, median-blur, turn grey or equalise an image, each with a small probability of its own.

    Blurs have a window of 3, 5 or 7 pixels; contrast is equalised by CLAHE on the lightness of
    L*a*b* with a clip limit of 1 to 4 and 8 x 8 tiles.

    Args:
        prob: Probability of each of the four.

    Raises:
        ConfigError: ``prob`` lies outside 0 to 1.
    """

    def __init__(self, prob: float = 0.01) -> None:
        if not 0 <= prob <= 1:
            raise ConfigError(f"RareImageChanges: prob={prob} must lie between 0 and 1.")
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Change ``img`` (H, W, 3) uint8 BGR.

        Raises:
            DataError: The image has another type.
        """
        blurred, median, grey, equalised = np.random.rand(4) < self.prob
        if not (blurred or median or grey or equalised):
            return results
        image = results["img"]
        if image.dtype != np.uint8 or image.ndim != 3:
            raise DataError(
                f"RareImageChanges needs an 8-bit colour image, {results.get('img_path')} is "
                f"{image.dtype} of shape {image.shape}: leave RareImageChanges out."
            )
        if blurred:
            image = cv2.blur(image, (window := _window(), window))
        if median:
            image = cv2.medianBlur(image, _window())
        if grey:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        if equalised:
            lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
            clahe = cv2.createCLAHE(np.random.uniform(1, 4), (8, 8))
            lab[..., 0] = clahe.apply(np.ascontiguousarray(lab[..., 0]))
            image = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)
        results["img"] = image
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prob={self.prob})"


def _window() -> int:
    return int(np.random.choice((3, 5, 7)))
