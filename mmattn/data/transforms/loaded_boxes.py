"""What the steps that mix images need of those that load them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmattn.errors import ConfigError

_NEEDED = ("img", "gt_bboxes", "gt_bboxes_labels", "gt_ignore_flags")
#: What stays where it was when an image is moved -> the option that loads it.
_LEFT_BEHIND = {
    "gt_masks": "with_mask=True",
    "gt_seg_map": "with_seg=True",
    "gt_keypoints": "with_keypoints=True",
}


def require_boxes(results: Mapping[str, Any], step: str) -> None:
    """Refuse an image that was loaded without boxes, or with what would not follow it.

    Args:
        results: What the loading steps made of an image.
        step: Name of the step that needs it, for the message.

    Raises:
        ConfigError: An entry is missing, or one is there that the step does not move.
    """
    missing = [key for key in _NEEDED if key not in results]
    if missing:
        raise ConfigError(
            f"{step}: the image {results.get('img_path')} has no {', '.join(missing)}: load it "
            "with dict(type='mmdet.LoadAnnotations', with_bbox=True) in the pipeline of the "
            "dataset that is mixed; mmcv's step of that name gives no gt_ignore_flags"
        )
    for key, option in _LEFT_BEHIND.items():
        if key in results:
            raise ConfigError(
                f"{step} moves images and their boxes alone, and {key} of "
                f"{results.get('img_path')} would stay behind: remove {option} from "
                "LoadAnnotations, or take mmdet's Mosaic and RandomAffine"
            )


def boxes_of(results: Mapping[str, Any]) -> np.ndarray:
    """Return the boxes of an image, (N, 4) float64, whatever type they were loaded as."""
    boxes = results["gt_bboxes"]
    return np.asarray(getattr(boxes, "tensor", boxes), dtype=np.float64).reshape(-1, 4)
