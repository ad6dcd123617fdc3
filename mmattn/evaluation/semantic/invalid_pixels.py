"""A warning about labels and predictions that are no class; mmseg stays silent about them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from mmengine.logging import print_log

from .image_counts import ImageCounts


def warn_invalid_pixels(
    images: Sequence[ImageCounts], confusion: np.ndarray, ignore_index: int
) -> None:
    """Log how many pixels are labelled or predicted as no class, and the first image with some.

    Args:
        images: Counts of all images.
        confusion: (K + 1, K + 1), the sum of theirs; the last row and column are no class.
        ignore_index: Label of pixels that were not counted.
    """
    last = len(confusion) - 1
    for what, pixels, is_invalid in (
        ("labelled", confusion[last].sum(), lambda image: image.confusion.has_invalid_label),
        ("predicted", confusion[:, last].sum(), lambda image: image.confusion.has_invalid_guess),
    ):
        if not pixels:
            continue
        first = min(image.name for image in images if is_invalid(image))
        print_log(
            f"{pixels} pixels are {what} as no class: outside of 0 to {last - 1}, and not "
            f"ignore_index={ignore_index}. The first image with such pixels is {first}. They count "
            "as wrong.",
            "current",
            logging.WARNING,
        )
