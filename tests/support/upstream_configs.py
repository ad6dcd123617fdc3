"""The configs of mmdet and mmseg that run as they are, and what is special about each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One config.

    Attributes:
        config: Its name, ``package::path``.
        task: ``detection``, ``instance``, ``panoptic``, ``semantic``, ``proposals`` (class-agnostic
            boxes), ``reid`` (one vector for each cut-out person) or ``lanes``.
        ops: Families of mmcv's compiled operators that the config has to reach on a CPU.
        size: Height and width of the images.
        background: Class of the pixels outside all objects, if the config trains on semantic maps.
        idle: Pattern of parameter names -> why no gradient may reach them in one step.
        strict: Whether a parameter that no gradient reaches fails the config unless ``idle`` says
            why; else their number is only reported.
        num_classes: Classes that the dataset has; the scenes' labels stay below it.
        with_proposals: Whether images come with boxes from elsewhere, as Fast R-CNN needs them.
        video: Whether the model predicts on videos; with ``train_frames`` it trains on them too.
        train_frames: Frames of a training video; 0 trains on single images.
        semi_supervised: Whether a batch has a labelled part and an unlabelled one.
        trains_by_parts: Why the model has no training step of its own, or ``""``.
        fits_norms: Whether the frozen batch norms take the statistics of the images first, where an
            untrained network explodes otherwise.
        may_be_empty: Whether an untrained network may predict nothing with all thresholds open.
        why_not: Why it does not work, in a sentence; the page shows it, and it has to fail.
        heavy: What takes a heavy config its time or memory.
        note: What the page says of the config beside the numbers.
    """

    config: str
    task: str
    ops: tuple[str, ...] = ()
    size: tuple[int, int] = (96, 128)
    background: int | None = None
    idle: Mapping[str, str] = field(default_factory=dict)
    strict: bool = True
    num_classes: int = 80
    with_proposals: bool = False
    video: bool = False
    train_frames: int = 0
    semi_supervised: bool = False
    trains_by_parts: str = ""
    fits_norms: bool = False
    may_be_empty: bool = False
    why_not: str = ""
    heavy: str = ""
    note: str = ""

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


def _det(config: str, task: str = "detection", **rest) -> Case:
    return _mmdet(config, task, strict=False, **rest)


def _seg(config: str, **rest) -> Case:
    return _mmseg(config, strict=False, **rest)


_SORT = "upstream trains the detector (and the re-identification network) by configs of their own"
_CROWD: dict[str, Any] = {"video": True, "num_classes": 1, "size": (128, 160)}
_MOT17 = "crowdhuman-mot17halftrain_test-mot17halfval"

# One config of every other folder of mmdet, in the order of the folders.
_MMDET: tuple[Case, ...] = (
    _det("albu_example/mask-rcnn_r50_fpn_albu-1x_coco", "instance"),
    _det("autoassign/autoassign_r50-caffe_fpn_1x_coco"),
    _det("boxinst/boxinst_r50_fpn_ms-90k_coco", "instance"),
    _det(f"bytetrack/bytetrack_yolox_x_8xb4-80e_{_MOT17}", **_CROWD),
    _det("cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco"),
    _det("cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco"),
    _det("centernet/centernet_r18_8xb16-crop512-140e_coco", size=(128, 128)),
    _det(
        "centripetalnet/centripetalnet_hourglass104_16xb6-crop511-210e-mstest_coco",
        size=(128, 128),
        may_be_empty=True,  # untrained corners make no pair
    ),
    _det("cityscapes/faster-rcnn_r50_fpn_1x_cityscapes", num_classes=8),
    _det("clrnet/clrnet", "lanes", size=(320, 800), note="has no dataloaders"),
    _det("condinst/condinst_r50_fpn_ms-poly-90k_coco_instance", "instance"),
    _det("conditional_detr/conditional-detr_r50_8xb2-50e_coco"),
    _det("convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco", "instance"),
    _det(
        "cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco", size=(128, 128), may_be_empty=True
    ),
    _det("crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman", num_classes=1),
    _det("dab_detr/dab-detr_r50_8xb2-50e_coco"),
    _det("ddod/ddod_r50_fpn_1x_coco"),
    _det("ddq/ddq-detr-4scale_r50_8xb2-12e_coco", size=(192, 256)),
    _det("deepfashion/mask-rcnn_r50_fpn_15e_deepfashion", "instance", num_classes=15),
    _det(
        "deepsort/deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval",
        trains_by_parts=_SORT,
        **_CROWD,
    ),
    _det(
        "detectors/detectors_cascade-rcnn_r50_1x_coco",
        fits_norms=True,
    ),
    _det("detr/detr_r50_8xb2-150e_coco"),
    _det("double_heads/dh-faster-rcnn_r50_fpn_1x_coco"),
    _det("dsdl/coco"),
    _det("dyhead/atss_r50_fpn_dyhead_1x_coco"),
    _det("dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco"),
    _det("efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco"),
    _det("empirical_attention/faster-rcnn_r50-attn1111_fpn_1x_coco"),
    _det("fast_rcnn/fast-rcnn_r50_fpn_1x_coco", with_proposals=True),
    _det("fcos/fcos_r50-caffe_fpn_gn-head_1x_coco"),
    _det("foveabox/fovea_r50_fpn_4xb4-1x_coco"),
    # Fewer positions make such poor batch statistics that predictions overflow.
    _det("fpg/retinanet_r50_fpg-chn128_crop640_50e_coco", size=(256, 256)),
    _det("free_anchor/freeanchor_r50_fpn_1x_coco"),
    _det("fsaf/fsaf_r50_fpn_1x_coco"),
    _det("gcnet/mask-rcnn_r50-gcb-r4-c3-c5_fpn_1x_coco", "instance"),
    _det("gfl/gfl_r50_fpn_1x_coco"),
    _det("ghm/retinanet_r50_fpn_ghm-1x_coco"),
    _det("glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco"),
    _det("gn/mask-rcnn_r50_fpn_gn-all_2x_coco", "instance"),
    _det("gn+ws/faster-rcnn_r50_fpn_gn-ws-all_1x_coco"),
    _det("grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco"),
    _det("groie/faste-rcnn_r50_fpn_groie_1x_coco"),
    _det("grounding_dino/grounding_dino_r50_scratch_8xb2_1x_coco"),
    _det("hrnet/faster-rcnn_hrnetv2p-w18-1x_coco", fits_norms=True),
    _det("htc/htc_r50_fpn_1x_coco", "instance", background=90),
    _det("instaboost/mask-rcnn_r50_fpn_instaboost-4x_coco", "instance"),
    _det("lad/lad_r50-paa-r101_fpn_2xb8_coco_1x"),
    _det("ld/ld_r18-gflv1-r101_fpn_1x_coco"),
    _det("legacy_1.x/faster-rcnn_r50_fpn_1x_coco_v1"),
    _det("libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco"),
    _det("lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1", "instance"),
    _det(
        "mask2former_vis/mask2former_r50_8xb2-8e_youtubevis2019",
        "instance",
        video=True,
        train_frames=2,
        num_classes=40,
    ),
    _det("maskformer/maskformer_r50_ms-16xb1-75e_coco", "panoptic", background=80),
    _det(
        "masktrack_rcnn/masktrack-rcnn_mask-rcnn_r50_fpn_8xb1-12e_youtubevis2019",
        "instance",
        video=True,
        train_frames=2,
        num_classes=40,
    ),
    _det("misc/d2_faster-rcnn_r50-caffe_fpn_ms-90k_coco"),
    _det("mm_grounding_dino/coco/grounding_dino_swin-t_finetune_16xb4_1x_coco"),
    _det("ms_rcnn/ms-rcnn_r50_fpn_1x_coco", "instance"),
    _det("nas_fcos/nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco"),
    _det("nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco", size=(256, 256)),
    _det("objects365/retinanet_r50_fpn_1x_objects365v1"),
    _det(
        f"ocsort/ocsort_yolox_x_8xb4-amp-80e_{_MOT17}",
        **_CROWD,
    ),
    _det("openimages/retinanet_r50_fpn_32xb2-1x_openimages"),
    _det("paa/paa_r50_fpn_1x_coco"),
    _det("pafpn/faster-rcnn_r50_pafpn_1x_coco"),
    _det("panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco", "panoptic", background=80),
    _det("pascal_voc/retinanet_r50_fpn_1x_voc0712", num_classes=20),
    _det("pisa/faster-rcnn_r50_fpn_pisa_1x_coco"),
    _det("point_rend/point-rend_r50-caffe_fpn_ms-1x_coco", "instance"),
    _det("pvt/retinanet_pvt-t_fpn_1x_coco"),
    _det(
        "qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval",
        train_frames=2,
        **_CROWD,
    ),
    _det("queryinst/queryinst_r50_fpn_1x_coco", "instance"),
    _det("regnet/retinanet_regnetx-1.6GF_fpn_1x_coco"),
    _det("reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20", "reid", size=(256, 128)),
    _det("reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco"),
    _det("res2net/faster-rcnn_res2net-101_fpn_2x_coco", fits_norms=True),
    _det("resnest/faster-rcnn_s50_fpn_syncbn-backbone+head_ms-range-1x_coco"),
    _det("resnet_strikes_back/retinanet_r50-rsb-pre_fpn_1x_coco"),
    _det("rpn/rpn_r50_fpn_1x_coco", "proposals"),
    _det("sabl/sabl-retinanet_r50_fpn_1x_coco"),
    _det("scnet/scnet_r50_fpn_1x_coco", "instance", background=90),
    _det("scratch/faster-rcnn_r50-scratch_fpn_gn-all_6x_coco"),
    _det("seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_random-ms-2x_lvis-v1", "instance"),
    _det("selfsup_pretrain/mask-rcnn_r50-mocov2-pre_fpn_1x_coco", "instance"),
    _det(
        "simple_copy_paste/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-scp-90k_coco",
        "instance",
    ),
    _det(
        "soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco",
        semi_supervised=True,
    ),
    _det("solo/solo_r50_fpn_1x_coco", "instance"),
    _det(
        "sort/sort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval",
        trains_by_parts=_SORT,
        **_CROWD,
    ),
    _det("sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco"),
    _det("ssd/ssd300_coco", size=(300, 300)),
    _det(
        "strong_baselines/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_lsj-100e_coco",
        "instance",
    ),
    _det(
        f"strongsort/strongsort_yolox_x_8xb4-80e_{_MOT17}",
        trains_by_parts=_SORT,
        **_CROWD,
    ),
    _det("swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco", "instance"),
    _det("timm_example/retinanet_timm-tv-resnet50_fpn_1x_coco"),
    _det("tood/tood_r50_fpn_1x_coco"),
    _det("tridentnet/tridentnet_r50-caffe_1x_coco"),
    _det(
        "v3det/cascade_rcnn_r50_fpn_8x4_sample1e-3_mstrain_v3det_2x",
        size=(64, 64),  # fewer proposals
        heavy="each of 13204 classes has a prediction for every proposal",
    ),
    _det("vfnet/vfnet_r50_fpn_1x_coco"),
    _det("wider_face/retinanet_r50_fpn_1x_widerface", num_classes=1),
    _det("yolact/yolact_r50_1xb8-55e_coco", "instance", size=(138, 138)),
    _det("yolo/yolov3_mobilenetv2_8xb24-320-300e_coco"),
    _det("yolof/yolof_r50-c5_8xb8-1x_coco"),
)

# The same of mmseg. Its dataset folders train what others have as well.
_MMSEG: tuple[Case, ...] = (
    _seg("ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("apcnet/apcnet_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg(
        "beit/beit-base_upernet_8xb2-160k_ade20k-640x640",
        size=(640, 640),
        heavy="each of 12 layers keeps the attention among 1601 positions",
    ),
    _seg("bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024"),
    _seg("bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024"),
    _seg("cgnet/cgnet_fcn_4xb8-60k_cityscapes-512x1024"),
    _seg("convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512"),
    _seg("danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("deeplabv3/deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("dmnet/dmnet_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("dnlnet/dnl_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512"),
    _seg("dsdl/cityscapes"),
    _seg("emanet/emanet_r50-d8_4xb2-80k_cityscapes-512x1024"),
    _seg("encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("erfnet/erfnet_fcn_4xb4-160k_cityscapes-512x1024"),
    _seg("fastfcn/fastfcn_r50-d32_jpu_aspp_4xb2-80k_cityscapes-512x1024"),
    _seg("fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024"),
    _seg("gcnet/gcnet_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("hrnet/fcn_hr18s_4xb2-40k_cityscapes-512x1024"),
    _seg("icnet/icnet_r18-d8_4xb2-80k_cityscapes-832x832"),
    _seg("isanet/isanet_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512"),
    _seg("mae/mae-base_upernet_8xb2-amp-160k_ade20k-512x512", size=(512, 512)),
    _seg("maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512"),
    _seg("mobilenet_v2/mobilenet-v2-d8_fcn_4xb2-80k_cityscapes-512x1024"),
    _seg(
        "mobilenet_v3/mobilenet-v3-d8-s_lraspp_4xb4-320k_cityscapes-512x1024",
        size=(400, 400),  # its head pools windows of 49 positions, 8 pixels apart
    ),
    _seg("nonlocal_net/nonlocal_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024"),
    _seg("poolformer/fpn_poolformer_s12_8xb4-40k_ade20k-512x512"),
    _seg("pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024"),
    _seg("resnest/resnest_s101-d8_fcn_4xb2-80k_cityscapes-512x1024"),
    _seg(
        "san/san-vit-b16_coco-stuff164k-640x640",
        size=(640, 640),
        heavy="the text encoder reads the names of 171 classes in 14 sentences each",
    ),
    _seg("segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512"),
    _seg("segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512"),
    _seg("sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024"),
    _seg("setr/setr_vit-l_naive_8xb1-80k_cityscapes-768x768"),
    _seg("stdc/stdc1_4xb12-80k_cityscapes-512x1024"),
    _seg("swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512"),
    _seg("twins/twins_pcpvt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512"),
    _seg("unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024"),
    _seg("upernet/upernet_r18_4xb2-40k_cityscapes-512x1024"),
    _seg("vit/vit_deit-s16_upernet_8xb2-160k_ade20k-512x512"),
    _seg("vpd/vpd_sd_4xb8-25k_nyu-512x512"),
)

ALGORITHMS = _MMDET + _MMSEG
ALL_CASES = CASES + ALGORITHMS
# Folders of configs that hold no algorithm: what the others inherit from.
BASES = ("_base_", "common")
