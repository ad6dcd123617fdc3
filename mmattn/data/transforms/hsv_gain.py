"""Random gains of hue, saturation and value."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmattn.errors import ConfigError, DataError
from mmattn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class HSVGain(BaseTransform):
    """Multiply hue, saturation and value of a BGR image by random gains.

    Each gain is drawn from 1 - x to 1 + x. As the gains are the same for all pixels, every channel
    is one table of 256 entries. mmdet's ``YOLOXHSVRandomAug`` adds random shifts instead.

    Args:
        hue: Largest change of the hue, as a share.
        saturation: Largest change of the saturation, as a share.
        value: Largest change of the value, as a share.

    Raises:
        ConfigError: A share lies outside 0 to 1.
    """

    def __init__(self, hue: float = 0.015, saturation: float = 0.7, value: float = 0.4) -> None:
        self.gains = {"hue": hue, "saturation": saturation, "value": value}
        for name, gain in self.gains.items():
            if not 0 <= gain <= 1:
                raise ConfigError(f"HSVGain: {name}={gain} must lie between 0 and 1.")

    def transform(self, results: dict) -> dict:
        """Change the colours of ``img`` (H, W, 3) uint8 BGR.

        Raises:
            DataError: The image has another type.
        """
        image = results["img"]
        if image.dtype != np.uint8 or image.ndim != 3:
            raise DataError(
                f"HSVGain needs an 8-bit colour image, {results.get('img_path')} is {image.dtype} "
                f"of shape {image.shape}: load it with to_float32=False, or leave HSVGain out."
            )
        gains = 1 + np.random.uniform(-1, 1, 3) * list(self.gains.values())
        results["img"] = apply_gains(image, gains)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.gains})"


def apply_gains(image: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Multiply the channels of HSV, where OpenCV's hue has 180 steps.

    Args:
        image: (H, W, 3) uint8 BGR.
        gains: (3,), of hue, saturation, value.
    """
    steps = np.arange(256, dtype=np.float64)
    tables = np.stack([steps * gain for gain in gains], -1)
    tables[:, 0] %= 180
    tables = np.clip(tables, 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, tables[None]), cv2.COLOR_HSV2BGR)
