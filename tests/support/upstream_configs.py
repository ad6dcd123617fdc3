"""The configs of mmdet and mmseg that run as they are, and what is special about each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """One config.

    Attributes:
        config: Its name, ``package::path``.
        task: ``detection``, ``instance``, ``panoptic`` or ``semantic``.
        ops: Families of mmcv's compiled operators that the config has to reach on a CPU.
        size: Height and width of the images.
        background: Class of the pixels outside all objects, if the config trains on semantic maps.
        idle: Pattern of parameter names -> why no gradient may reach them in one step.
    """

    config: str
    task: str
    ops: tuple[str, ...] = ()
    size: tuple[int, int] = (96, 128)
    background: int | None = None
    idle: Mapping[str, str] = field(default_factory=dict)

    def why_idle(self, parameter: str) -> str:
        """The reason why no gradient reaches ``parameter``, or ``""``."""
        for pattern, reason in self.idle.items():
            if re.fullmatch(pattern, parameter):
                return reason
        return ""


def _mmdet(config: str, task: str = "detection", **rest) -> Case:
    return Case(f"mmdet::{config}.py", task, **rest)


def _mmseg(config: str, **rest) -> Case:
    # Cityscapes' 19 classes: the objects are classes 0 to 3, the rest is class 8.
    return Case(f"mmseg::{config}.py", "semantic", background=8, **rest)


# Deformable attention and the focal losses take a plain torch path of mmcv or mmdet on a CPU.
PROMISED: tuple[Case, ...] = (
    _mmdet("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", ops=("nms", "roi_align")),
    _mmdet("mask_rcnn/mask-rcnn_r50_fpn_1x_coco", "instance", ops=("nms", "roi_align")),
    _mmdet("retinanet/retinanet_r50_fpn_1x_coco", ops=("nms",)),
    _mmdet(
        "atss/atss_r50_fpn_1x_coco",
        ops=("nms",),
        idle={
            r"bbox_head\.scales\.[1-4]\.scale": "scales the boxes of a level whose anchors all "
            "are too large for the objects of so small an image"
        },
    ),
    _mmdet(
        "yolox/yolox_nano_8xb8-300e_coco",
        ops=("nms",),
        # Fewer positions make such poor batch statistics that predictions overflow.
        size=(256, 320),
        idle={
            r"bbox_head\.multi_level_(cls_convs|conv_cls|conv_reg)\.0\..*": "classes and "
            "boxes are learnt where there is an object, and SimOTA assigned none to this level"
        },
    ),
    _mmdet("deformable_detr/deformable-detr_r50_16xb2-50e_coco"),
    # Its 900 queries are picked among the positions of all levels, so there must be as many.
    _mmdet("dino/dino-4scale_r50_8xb2-12e_coco", size=(192, 256)),
    _mmdet("rtmdet/rtmdet_tiny_8xb32-300e_coco", ops=("nms",)),
    _mmdet("mask2former/mask2former_r50_8xb2-lsj-50e_coco", "instance"),
    # 80 kinds of things come first; class 80 is the first kind of stuff.
    _mmdet("mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic", "panoptic", background=80),
    _mmdet("solov2/solov2_r50_fpn_1x_coco", "instance"),
    _mmdet(
        "dcn/cascade-rcnn_r50-dconv-c3-c5_fpn_1x_coco",
        ops=("nms", "roi_align", "deform_conv"),
        idle={
            r"neck\.fpn_convs\.[23]\.conv\.(weight|bias)": "feeds a level whose anchors do not fit "
            "inside so small an image (allowed_border=0), nor are there proposals of its size"
        },
    ),
    _mmdet("carafe/faster-rcnn_r50_fpn-carafe_1x_coco", ops=("nms", "roi_align", "carafe")),
    _mmseg("fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _mmseg("deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _mmseg("ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _mmseg("psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024", ops=("psamask",)),
    _mmseg("point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024"),
    _mmseg("segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024"),
    _mmseg("pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes"),
    _mmseg("ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024"),
    _mmseg("mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024"),
)

# One config for each further operator of the bridge that a CPU run of mmdet can reach.
FURTHER: tuple[Case, ...] = (
    _mmdet("faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco", ops=("softnms", "roi_align")),
    _mmdet(
        "dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco", ops=("modulated_deform_conv", "roi_align")
    ),
    _mmdet(
        "dcn/faster-rcnn_r50_fpn_dpool_1x_coco",
        ops=("nms", "deform_roi_pool"),
        size=(64, 64),  # fewer proposals to pool
        idle={
            r"roi_head\.bbox_roi_extractor\.roi_layers\.[1-3]\.offset_fc\..*": "pools from a level "
            "that is too coarse for all proposals of so small an image"
        },
    ),
    _mmdet("guided_anchoring/ga-retinanet_r50_fpn_1x_coco", ops=("deform_conv", "masked_im2col")),
)

CASES = PROMISED + FURTHER
