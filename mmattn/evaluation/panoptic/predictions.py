"""The panoptic map that mmdet's models predict, as segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmattn.detections.mmdet_panoptic import labels_of_ids
from mmattn.detections.segment_map import SegmentMap
from mmattn.errors import ConfigError, DataError


def predicted_segments(sample: Mapping[str, Any], classes: Sequence[str]) -> SegmentMap:
    """Read ``pred_panoptic_seg`` of a sample.

    The number of classes, or ``ignore_index``, as label stands for void.

    Args:
        sample: Result of a panoptic model of mmdet.
        classes: Names of the classes.

    Raises:
        ConfigError: The model predicts no panoptic map.
        DataError: A label is no class.
    """
    field = sample.get("pred_panoptic_seg")
    if field is None or "sem_seg" not in field:
        held = ", ".join(key for key in sample if key.startswith("pred_")) or "nothing"
        raise ConfigError(
            f"ClasswisePanopticMetric: the model predicts no panoptic map, but {held}. Set "
            "model.test_cfg.panoptic_on=True if it has that option, or take the metric of its own "
            "task: CocoMetric for boxes and masks, SemSegMetric for semantic maps"
        )
    pixels = np.asarray(field["sem_seg"].detach().cpu()).astype(np.int64)
    pixels = pixels.reshape(pixels.shape[-2:])
    nothing = {len(classes), field.get("ignore_index", len(classes))}
    labels = {n: label for n, label in labels_of_ids(pixels).items() if label not in nothing}
    beyond = [label for label in labels.values() if label >= len(classes)]
    if beyond:
        raise DataError(
            f"{sample.get('img_path')}: the model predicts the class {beyond[0]}, and the dataset "
            f"has {len(classes)} classes ({', '.join(classes)}). Set num_things_classes and "
            "num_stuff_classes of its heads to the dataset's"
        )
    return SegmentMap.of(pixels, labels)
