"""Mask AP beside panoptic quality: predicted instances compared with the things of the same truth.

A panoptic map has no scores. Models that predict instances as well (``test_cfg.instance_on`` of
mmdet's MaskFormer and Mask2Former) are measured by both, without a second annotation file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmattn.detections.segment_map import SegmentMap
from mmattn.evaluation.detection.classwise_coco import ClasswiseCocoMetric
from mmattn.evaluation.detection.packed_masks import PackedMasks

from .truth import PanopticClasses

#: Fields of predicted instances that are compared, beside their labels.
_FIELDS = ("bboxes", "scores", "masks", "mask_scores")


@dataclass(frozen=True, eq=False)
class PackedObjects:
    """The objects of an image, in arrays; iterating gives them in the form of mmdet's datasets.

    Attributes:
        boxes: int32 (n, 4), x1, y1, x2, y2.
        labels: int32 (n,)
        crowd: bool (n,)
        areas: int32 (n,), in pixels.
        masks: Their masks.
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    masks: PackedMasks

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for place, mask in enumerate(self.masks):
            yield {
                "bbox": self.boxes[place].tolist(),
                "bbox_label": int(self.labels[place]),
                "ignore_flag": int(self.crowd[place]),
                "mask": mask,
                "area": int(self.areas[place]),
            }


class InstanceComparison:
    """Collects the instances of images, and evaluates them.

    Args:
        classes: Classes of the panoptic metric; things alone are compared.
        worst: Number of images with the lowest F1 to keep.
        bootstrap: Resamples for intervals of AP.
    """

    def __init__(self, classes: PanopticClasses, *, worst: int, bootstrap: int) -> None:
        self._things = {label: place for place, label in enumerate(classes.thing_labels)}
        self.metric = ClasswiseCocoMetric(
            metric=["segm", "boundary"], worst=worst, bootstrap=bootstrap
        )
        names = tuple(classes.names[label] for label in self._things)
        self.metric.dataset_meta = {"classes": names}
        self.left_out = 0

    def collect(self, sample: Mapping[str, Any], truth: SegmentMap) -> Any:
        """Return what ``evaluate`` needs of an image: masks as run lengths, no arrays.

        Args:
            sample: Result of the model, with ``pred_instances``.
            truth: Labelled segments.
        """
        predicted = sample["pred_instances"]
        labels = predicted["labels"]
        kept = [place for place, label in enumerate(labels.tolist()) if label in self._things]
        self.left_out += len(labels) - len(kept)
        chosen = {key: _chosen(predicted[key], kept) for key in _FIELDS if key in predicted}
        places = [self._things[labels[place].item()] for place in kept]
        chosen["labels"] = labels.new_tensor(places)
        self.metric.process(
            {},
            [
                {
                    "img_id": sample["img_id"],
                    "img_path": sample.get("img_path"),
                    "ori_shape": truth.shape,
                    "pred_instances": chosen,
                    "instances": self._objects(truth),
                }
            ],
        )
        return self.metric.results.pop()

    def evaluate(self, collected: Sequence[Any]) -> dict[str, float]:
        """Compute mask AP and boundary AP; see ``ClasswiseCocoMetric.compute_metrics``."""
        return self.metric.compute_metrics(list(collected))

    def _objects(self, truth: SegmentMap) -> PackedObjects:
        places = [i for i, label in enumerate(truth.labels.tolist()) if label in self._things]
        boxes = truth.boxes()[places].astype(np.int32)
        boxes[:, 2:] += boxes[:, :2]
        return PackedObjects(
            boxes=boxes,
            labels=np.array([self._things[int(truth.labels[i])] for i in places], np.int32),
            crowd=truth.crowd[places],
            areas=truth.areas()[places].astype(np.int32),
            masks=PackedMasks(_encoded(truth.index == place + 1) for place in places),
        )


def _chosen(values: Any, places: Sequence[int]) -> Any:
    """Return some of the values of a field; masks in arrays become run lengths, one at a time.

    A copy of all masks, a megabyte or more for each image, would be freed again, but not all
    allocators find room for the next one between the results that stay (glibc 2.36).
    """
    if isinstance(values, list):
        return [values[place] for place in places]
    if values.ndim == 3:
        return [_encoded(values[place].detach().cpu().numpy()) for place in places]
    return values[places]


def _encoded(mask: np.ndarray) -> Any:
    """Return the run lengths of a mask, (H, W)."""
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))
