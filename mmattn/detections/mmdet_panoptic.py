"""Panoptic maps as mmdet's models return them."""

from __future__ import annotations

import numpy as np

from .segment_map import find_ids


def labels_of_ids(id_map: np.ndarray) -> dict[int, int]:
    """Return the label of each id of a map, for ``SegmentMap.of``.

    A pixel holds ``label + INSTANCE_OFFSET * object``. The number of classes as label stands for
    void: it is returned like any other.

    Args:
        id_map: (H, W), ``pred_panoptic_seg.sem_seg`` of an image.
    """
    from mmdet.evaluation.functional import INSTANCE_OFFSET

    ids, _, _ = find_ids(id_map)
    return dict(zip(ids.tolist(), (ids % INSTANCE_OFFSET).tolist(), strict=True))
