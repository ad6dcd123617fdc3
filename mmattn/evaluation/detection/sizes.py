"""Objects found and missed by their size."""

from __future__ import annotations

import numpy as np

from .matching import Matches

#: Square roots of areas, in pixels, between which objects are counted; COCO calls objects small
#: below 32 and large above 96.
SIZE_EDGES = (0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
#: What becomes of an object, in the order of the rows of ``count_sizes``.
OUTCOMES = ("found", "found below the confidence", "missed")


def count_sizes(matches: Matches, confidence: float) -> np.ndarray:
    """Count objects by size and by what becomes of them at IoU 0.5.

    Args:
        matches: Matches of a dataset.
        confidence: Lowest score of a detection that counts as found.

    Returns:
        int64 (3, len(SIZE_EDGES)): rows as ``OUTCOMES``; the last column is open to above.
    """
    scores = matches.hit_scores()
    outcome = np.select([scores >= confidence, scores > -np.inf], [0, 1], default=2)
    bins = np.searchsorted(SIZE_EDGES, np.sqrt(matches.obj_area), side="right") - 1
    counts = np.zeros((len(OUTCOMES), len(SIZE_EDGES)), np.int64)
    np.add.at(counts, (outcome, np.maximum(bins, 0)), 1)
    return counts
