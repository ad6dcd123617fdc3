"""Colours of classes: one RGB value for each."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

Palette = Sequence[Sequence[int]]


def complete_palette(palette: Palette, count: int) -> list[tuple[int, int, int]]:
    """Return a colour for each of ``count`` classes.

    Args:
        palette: RGB, 0 to 255, of the first classes; those missing are taken from around the hue
            circle.
        count: Number of classes.
    """
    colours = [tuple(int(channel) for channel in colour) for colour in palette[:count]]
    for index in range(len(colours), count):
        # Steps of the golden ratio keep neighbouring indices far apart in hue.
        hue = np.uint8(180 * ((index * 0.618034) % 1))
        hsv = np.array([[[hue, 170, 225]]], np.uint8)
        colours.append(tuple(int(c) for c in cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]))
    return colours
