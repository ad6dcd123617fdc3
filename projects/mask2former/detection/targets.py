"""Ground truth of mmdet's samples as labels and bits."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from torch import Tensor

from mmattn.errors import DataError

from ..mask_bits import MaskBits, Size
from ..targets import MaskTargets


def targets_of(sample: DetDataSample, num_things: int, num_stuff: int) -> MaskTargets:
    """Return the objects of an image, and its stuff: one mask for each class that is there.

    Args:
        sample: ``gt_instances`` with ``labels`` and ``masks`` of things, ``gt_sem_seg`` with
            ``sem_seg`` of stuff, (1, h, w), whose labels follow those of things; of these, what
            the numbers of classes ask for. ``batch_input_shape`` is the size of the input.
        num_things: Number of classes of things, 0 in semantic segmentation.
        num_stuff: Number of classes of stuff, 0 in instance segmentation.

    Raises:
        DataError: Masks that the classes need are not in the sample.
    """
    size = tuple(sample.metainfo["batch_input_shape"])
    labels, parts = [], []
    if num_things:
        instances: Any = sample.gt_instances
        if "masks" not in instances:
            raise DataError(
                f"{_name(sample)} has no masks of objects: the training pipeline needs "
                "LoadAnnotations with with_mask=True, or LoadPanopticAnnotations"
            )
        labels.append(instances.labels)
        parts.append(_bits(instances.masks, size, instances.labels.device))
    if num_stuff:
        if "gt_sem_seg" not in sample:
            raise DataError(
                f"{_name(sample)} has no map of its {num_stuff} classes of stuff: the training "
                "pipeline needs with_seg=True, or num_stuff_classes=0 for instances alone"
            )
        label_map = sample.gt_sem_seg.sem_seg[0]  # pyright: ignore[reportAttributeAccessIssue]
        here = torch.unique(label_map)
        here = here[(here >= num_things) & (here < num_things + num_stuff)]
        labels.append(here.long())
        parts.append(MaskBits.of_labels(label_map, here, size))
    return MaskTargets(torch.cat(labels), MaskBits.concatenated(parts))


def _bits(masks: BitmapMasks | PolygonMasks | Tensor, size: Size, device: torch.device) -> MaskBits:
    if isinstance(masks, Tensor):
        return MaskBits.of_tensor(masks, size)
    if isinstance(masks, PolygonMasks):
        masks = masks.to_bitmap()
    return MaskBits.of_arrays(masks.masks, size, device)


def _name(sample: DetDataSample) -> str:
    return str(sample.metainfo.get("img_path", "a training image"))
