"""Every system of the repository as a network small enough for a test, and labelled batches for it.

A system is what its config in ``configs/`` builds, narrowed; a block is tested in a host.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from tests.support.comparison_configs import (
    MASK2FORMER,
    MASK2FORMER_INSTANCE,
    MASK2FORMER_PANOPTIC,
)
from tests.support.small_detectors import detector
from tests.support.tiny_models import tiny_detector, tiny_segmentor

DET, SEG = "mmdet", "mmseg"
#: Scope and config of a model.
Built = tuple[str, dict[str, Any]]
IGNORED = 255


# --- hosts ---------------------------------------------------------------------------------------


def _resnet(**options: Any) -> dict[str, Any]:
    return {"type": "ResNet", "depth": 18, "base_channels": 8, "stem_channels": 8, **options}


def _with_block(network: dict[str, Any], block: str, maps: Sequence[int]) -> dict[str, Any]:
    """The network with a block on each of the maps that a head reads; others learn nothing."""
    cfg = {"type": f"mmattn.{block}", **BLOCKS[block]}
    plugins = [{"cfg": cfg, "stages": tuple(maps)}]
    return {"type": "mmattn.WithPlugins", "inner": network, "plugins": plugins}


def _upernet(block: str) -> Built:
    backbone = {**_resnet(norm_cfg={"type": "BN"}), "type": "mmseg.ResNet"}
    return SEG, tiny_segmentor(_with_block(backbone, block, range(4)), (8, 16, 32, 64))


def _fcn() -> Built:
    head = {
        "type": "FCNHead", "in_channels": 64, "channels": 8, "num_convs": 1, "num_classes": 5,
        "norm_cfg": {"type": "BN"}, "concat_input": False,
    }  # fmt: skip
    backbone = {**_resnet(norm_cfg={"type": "BN"}), "type": "mmseg.ResNet"}
    preprocessor = {"type": "SegDataPreProcessor", "size": (64, 64)}
    return SEG, {
        "type": "EncoderDecoder", "data_preprocessor": preprocessor, "test_cfg": {"mode": "whole"},
        "backbone": backbone, "decode_head": head,
    }  # fmt: skip


def _retinanet(block: str = "") -> Built:
    backbone = _resnet(norm_cfg={"type": "BN"})
    backbone = _with_block(backbone, block, (1, 2, 3)) if block else backbone
    return DET, tiny_detector(backbone, (8, 16, 32, 64))


def _yolox() -> Built:
    model = detector("YOLOX")
    model["data_preprocessor"]["batch_augments"] = [
        {"type": "BatchSyncRandomResize", "random_size_range": (64, 128), "interval": 1}
    ]
    model["bbox_head"]["num_classes"] = 4
    assigner = {"type": "SimOTAAssigner", "center_radius": 2.5}
    return DET, {**model, "train_cfg": {"assigner": assigner}}


# --- systems of projects/ ------------------------------------------------------------------------


def _narrowed(config: str, **changes: Any) -> Callable[[], Built]:
    """The model of a config without weights to load; ``a__b`` is the key ``a.b``."""

    def build() -> Built:
        cfg = load_config(config)
        cfg.merge_from_dict({f"model.{k.replace('__', '.')}": v for k, v in changes.items()})
        model = cfg.model.to_dict()
        for part in (model, model["backbone"]):
            part.pop("pretrained", None)
            part.pop("init_cfg", None)
        if cfg.default_scope == SEG:
            model["data_preprocessor"]["size"] = (64, 64)
        return cfg.default_scope, model

    return build


def _yolov12() -> Built:
    model = load_config("mmattn::yolov12/yolov12-n_8xb32-600e_coco.py").model
    model.bbox_head.num_classes = 4
    model.pop("train_cfg", None)
    return DET, model.to_dict()


def _dynamic_head(config: str) -> Callable[[], Built]:
    def build() -> Built:
        changes = {"backbone__depth": 18, "backbone__base_channels": 8}
        _, model = _narrowed(f"mmattn::dynamic_head/{config}_1x_coco.py", **changes)()
        model["backbone"] |= {"stem_channels": 8, "frozen_stages": -1}
        pyramid, dynamic = model["neck"]
        pyramid |= {"in_channels": [8, 16, 32, 64], "out_channels": 16}
        dynamic |= {"in_channels": 16, "out_channels": 16, "num_blocks": 2}
        if "roi_head" in model:
            _narrow_two_stages(model)
        else:
            model["bbox_head"] |= {"in_channels": 16, "feat_channels": 64, "num_classes": 4}
            if model["bbox_head"].get("stacked_convs") == 0:
                model["bbox_head"]["feat_channels"] = 16
        return DET, model

    return build


def _mask_rcnn() -> Built:
    changes = {"backbone__depth": 18, "backbone__base_channels": 8}
    _, model = _narrowed("mmattn::ccnet/mask-rcnn_r50-rcca_fpn_1x_coco.py", **changes)()
    model["backbone"] |= {"stem_channels": 8, "frozen_stages": -1}
    model["neck"] |= {"in_channels": [8, 16, 32, 64], "out_channels": 16}
    _narrow_two_stages(model)
    return DET, model


def _narrow_two_stages(model: dict[str, Any]) -> None:
    model["rpn_head"] |= {"in_channels": 16, "feat_channels": 16}
    for name, part in model["roi_head"].items():
        if name.endswith("roi_extractor"):
            part["out_channels"] = 16
        elif name == "bbox_head":
            part |= {"in_channels": 16, "fc_out_channels": 16, "num_classes": 4}
        elif name == "mask_head":
            part |= {"in_channels": 16, "conv_out_channels": 16, "num_convs": 1, "num_classes": 4}


def _nat() -> Built:
    backbone = {
        "type": "mmattn.NAT",
        "channels": 8,
        "depths": (1, 1, 1, 1),
        "num_heads": (1, 2, 2, 4),
    }
    return SEG, tiny_segmentor(backbone, (8, 16, 32, 64))


def _token_mixer_host() -> Built:
    mixer = {"type": "mmattn.InLineAttention"}
    backbone = {"type": "mmattn.TokenMixerHost", "token_mixer": mixer, "depths": (1, 1, 1, 1)}
    return SEG, tiny_segmentor(backbone, (32, 64, 128, 256))


SYSTEMS: dict[str, Callable[[], Built]] = {
    "FCN": _fcn,
    "RetinaNet": _retinanet,
    "YOLOX": _yolox,
    "CCNet": _narrowed("mmattn::ccnet/ccnet_r18-d4_1xb8-600_shapes-96x128.py"),
    "CCNet, category-consistent": _narrowed(
        "mmattn::ccnet/ccnet_r18-d4_1xb8-600_shapes-96x128.py",
        decode_head__loss_category={"type": "mmattn.CategoryConsistentLoss"},
        decode_head__category_channels=8,
    ),
    "Mask R-CNN with CCNet's attention": _mask_rcnn,
    "BEVANet": _narrowed(
        "mmattn::bevanet/bevanet-s_1xb8-1k_camvid-176x240.py",
        backbone__channels=8,
        backbone__context_channels=16,
        decode_head__in_channels=32,
        decode_head__channels=16,
    ),
    "Mask2Former": _narrowed(MASK2FORMER, decode_head__channels=64),
    "Mask2Former, instance": _narrowed(MASK2FORMER_INSTANCE, panoptic_head__channels=64),
    "Mask2Former, panoptic": _narrowed(MASK2FORMER_PANOPTIC, panoptic_head__channels=64),
    "Dynamic Head, ATSS": _dynamic_head("atss_r50_fpn_dyhead"),
    "Dynamic Head, ATSS of mmdet": _dynamic_head("atss_r50_fpn_dyhead-mmdet"),
    "Dynamic Head, RetinaNet": _dynamic_head("retinanet_r50_fpn_dyhead"),
    "Dynamic Head, FCOS": _dynamic_head("fcos_r50_fpn_dyhead"),
    "Dynamic Head, Faster R-CNN": _dynamic_head("faster-rcnn_r50_fpn_dyhead"),
    "YOLOv12": _yolov12,
    "Attention UNet": _narrowed(
        "mmattn::attention_unet/gated-unet-s4_1xb8-600_shapes-96x128.py",
        backbone__base_channels=8,
        decode_head__in_channels=8,
        decode_head__channels=8,
        auxiliary_head__in_channels=16,
    ),
    "NAT": _nat,
    "Token mixer host": _token_mixer_host,
}
#: Blocks and their options in a narrow host.
BLOCKS: dict[str, dict[str, Any]] = {
    "AgentAttention": {},
    "AggregatedAttention": {},
    "AreaAttention": {"head_channels": 8},
    "BiLevelRoutingAttention": {},
    "CBAM": {},
    "ContMix": {},
    "ConvGLU": {},
    "CoordAtt": {},
    "CrissCrossAttention": {},
    "DepthwiseMixer": {},
    "ECA": {},
    "ELA": {"fallback": "divisor"},
    "FocusedLinearAttention": {},
    "GlobalContext": {},
    "HiLo": {},
    "InLineAttention": {},
    "NeighborhoodAttention": {},
    "RankAugmentedAttention": {},
    "SE": {},
    "ScaleAwareModulation": {},
    "SimAM": {},
    "TripletAttention": {},
    "VariedSizeWindowAttention": {},
}
SYSTEMS |= {f"{block} in UPerNet": partial(_upernet, block) for block in BLOCKS}
SYSTEMS["CBAM in RetinaNet"] = partial(_retinanet, "CBAM")


def build_system(name: str) -> tuple[str, Any]:
    """Return scope and model of a system, with the same random weights every time."""
    scope, cfg = SYSTEMS[name]()
    return scope, build_model(scope, cfg)


def build_model(scope: str, cfg: Mapping[str, Any]) -> Any:
    """Build a model of ``SYSTEMS``, with the same random weights every time."""
    enter_scope(Config({"default_scope": scope}))
    torch.manual_seed(0)
    model: Any = MODELS.build(ConfigDict(deepcopy(dict(cfg))))
    model.init_weights()
    return model


# --- batches -------------------------------------------------------------------------------------

CLASSES = 4  # of the labels below: each system has as many or more


def labelled_batch(
    scope: str, sizes: Sequence[tuple[int, int]], empty: Collection[int] = ()
) -> dict[str, list[Any]]:
    """Return labelled images as a data loader gives them, with targets for every system.

    Args:
        scope: ``SEG`` for label maps and edges, ``DET`` for boxes, masks and label maps of stuff.
        sizes: Height and width of each image.
        empty: Indices of the images whose pixels are all ignored, and which hold no object.
    """
    rng = np.random.default_rng(0)
    inputs, samples = [], []
    for index, size in enumerate(sizes):
        inputs.append(torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8)))
        meta = {
            "img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0), "flip": False,
            "img_id": index, "img_path": f"scene_{index}.png",
        }  # fmt: skip
        sample = SegDataSample if scope == SEG else DetDataSample
        target = _semantic if scope == SEG else _objects
        samples.append(target(sample(metainfo=meta), size, index in empty, rng))
    return {"inputs": inputs, "data_samples": samples}


def _semantic(sample: Any, size: tuple[int, int], empty: bool, rng: np.random.Generator) -> Any:
    coarse = rng.integers(0, CLASSES, (4, 4))
    rows, columns = (np.arange(side) * 4 // side for side in size)
    labels = torch.from_numpy(coarse[rows][:, columns])[None]
    sample.gt_sem_seg = PixelData(data=torch.full_like(labels, IGNORED) if empty else labels)
    edges = torch.zeros_like(labels) if empty else labels % 2
    sample.gt_edge_map = PixelData(data=edges)  # for BEVANet
    return sample


def _objects(sample: Any, size: tuple[int, int], empty: bool, rng: np.random.Generator) -> Any:
    count = 0 if empty else 3
    height, width = size
    boxes = np.zeros((count, 4), np.float32)
    masks = np.zeros((count, height, width), np.uint8)
    for box, mask in zip(boxes, masks, strict=True):
        h, w = (max(round(side * float(rng.uniform(0.2, 0.7))), 1) for side in size)
        top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
        box[:] = left, top, left + w, top + h
        mask[top : top + h, left : left + w] = 1
    sample.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.from_numpy(boxes)),
        labels=torch.from_numpy(rng.integers(0, CLASSES, count)),
        masks=BitmapMasks(masks, height, width),
    )
    # Of the panoptic system: six things, then four sorts of stuff.
    stuff = torch.full((1, height, width), IGNORED if empty else 6)
    stuff[..., width // 2 :] = IGNORED if empty else 8
    sample.gt_sem_seg = PixelData(sem_seg=stuff)
    sample.ignored_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.zeros(0, 4)),
        labels=torch.zeros(0, dtype=torch.long),
        masks=BitmapMasks(np.zeros((0, height, width), np.uint8), height, width),
    )
    return sample
