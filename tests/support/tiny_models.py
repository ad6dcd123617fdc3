"""A detector and a segmentor around any backbone, small enough for a test, and their batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .scenes import draw_scene

_CLASSES = 4
_BACKGROUND = 4


def tiny_detector(backbone: dict, in_channels: Sequence[int], **preprocessor: Any) -> dict:
    """mmdet's RetinaNet on three levels of an FPN.

    Args:
        backbone: Its config.
        in_channels: Of the maps that it returns, three or more.
        **preprocessor: Of ``DetDataPreprocessor``.
    """
    return {
        "type": "RetinaNet",
        "data_preprocessor": {
            "type": "DetDataPreprocessor",
            "pad_size_divisor": 32,
            **preprocessor,
        },
        "backbone": backbone,
        "neck": {
            "type": "FPN",
            "in_channels": list(in_channels),
            "out_channels": 8,
            "start_level": len(in_channels) - 3,
            "num_outs": 3,
        },
        "bbox_head": {
            "type": "RetinaHead",
            "num_classes": _CLASSES,
            "in_channels": 8,
            "feat_channels": 8,
            "stacked_convs": 1,
            "anchor_generator": {
                "type": "AnchorGenerator",
                "octave_base_scale": 4,
                "scales_per_octave": 1,
                "ratios": [1.0],
                "strides": [8, 16, 32],
            },
        },
        "train_cfg": {
            "assigner": {
                "type": "MaxIoUAssigner",
                "pos_iou_thr": 0.5,
                "neg_iou_thr": 0.4,
                "min_pos_iou": 0,
                "ignore_iof_thr": -1,
            },
            "sampler": {"type": "PseudoSampler"},
            "allowed_border": -1,
            "pos_weight": -1,
            "debug": False,
        },
        "test_cfg": {
            "nms_pre": 10,
            "min_bbox_size": 0,
            "score_thr": 0.0,
            "max_per_img": 5,
            "nms": {"type": "nms", "iou_threshold": 0.5},
        },
    }


def tiny_segmentor(backbone: dict, in_channels: Sequence[int], **preprocessor: Any) -> dict:
    """mmseg's EncoderDecoder: a UPerHead on all maps, an FCNHead on the last but one.

    Args:
        backbone: Its config.
        in_channels: Of the maps that it returns, two or more.
        **preprocessor: Of ``SegDataPreProcessor``.
    """
    head = {"channels": 8, "num_classes": _CLASSES + 1, "dropout_ratio": 0.0}
    last = len(in_channels) - 1
    return {
        "type": "EncoderDecoder",
        "data_preprocessor": {"type": "SegDataPreProcessor", "size": (64, 64), **preprocessor},
        "backbone": backbone,
        "decode_head": {
            "type": "UPerHead",
            "in_channels": list(in_channels),
            "in_index": list(range(last + 1)),
            "pool_scales": (1, 2),
            "align_corners": False,
            **head,
        },
        "auxiliary_head": {
            "type": "FCNHead",
            "in_channels": in_channels[last - 1],
            "in_index": last - 1,
            "align_corners": False,
            **head,
        },
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }


def tiny_batch(*, segmentation: bool, size: tuple[int, int] = (64, 64)) -> dict[str, list]:
    """Two labelled scenes, as the data loader of ``tiny_detector`` or ``tiny_segmentor`` gives."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmengine.structures import InstanceData, PixelData
    from mmseg.structures import SegDataSample

    inputs, samples = [], []
    for seed in range(2):
        scene = draw_scene(size, seed)
        inputs.append(torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1))))
        meta = {"img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0), "flip": False}
        if segmentation:
            sample = SegDataSample(metainfo=meta)
            labels = torch.from_numpy(scene.semantic_map(_BACKGROUND)).long()
            sample.gt_sem_seg = PixelData(data=labels[None])
        else:
            sample = DetDataSample(metainfo=meta)
            sample.gt_instances = InstanceData(
                bboxes=HorizontalBoxes(torch.from_numpy(scene.boxes)),
                labels=torch.from_numpy(scene.labels),
            )
        samples.append(sample)
    return {"inputs": inputs, "data_samples": samples}
