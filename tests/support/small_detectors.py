"""Detectors of mmdet for export and prediction: tiny, with weights that find something."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

CLASSES = ("circle", "square", "triangle")
_BACKBONE = {
    "type": "ResNet",
    "depth": 18,
    "base_channels": 8,
    "stem_channels": 8,
    "norm_cfg": {"type": "BN"},
    "out_indices": (1, 2, 3),
}
_NECK = {"type": "FPN", "in_channels": [16, 32, 64], "out_channels": 16, "num_outs": 3}
_PREPROCESSOR = {
    "type": "DetDataPreprocessor",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "bgr_to_rgb": True,
    "pad_size_divisor": 32,
}
_ANCHORS = {"type": "AnchorGenerator", "strides": [8, 16, 32], "ratios": [1.0]}
_TEST_CFG = {
    "nms_pre": 100,
    "min_bbox_size": 0,
    "score_thr": 0.05,
    "nms": {"type": "nms", "iou_threshold": 0.6},
    "max_per_img": 50,
}
_HEAD = {"num_classes": len(CLASSES), "in_channels": 16, "feat_channels": 16, "stacked_convs": 1}

HEADS: dict[str, dict[str, Any]] = {
    "RetinaNet": {
        "type": "RetinaHead",
        **_HEAD,
        "anchor_generator": {**_ANCHORS, "octave_base_scale": 4, "scales_per_octave": 2},
    },
    "ATSS": {
        "type": "ATSSHead",
        **_HEAD,
        "norm_cfg": {"type": "BN"},
        "anchor_generator": {**_ANCHORS, "octave_base_scale": 4, "scales_per_octave": 1},
    },
    "FCOS": {
        "type": "FCOSHead",
        **_HEAD,
        "norm_cfg": {"type": "BN"},
        "strides": [8, 16, 32],
        "regress_ranges": ((-1, 64), (64, 128), (128, 1e8)),
    },
    "GFL": {
        "type": "GFLHead",
        **_HEAD,
        "norm_cfg": {"type": "BN"},
        "reg_max": 8,
        "anchor_generator": {**_ANCHORS, "octave_base_scale": 4, "scales_per_octave": 1},
    },
    "RTMDet": {
        "type": "RTMDetSepBNHead",
        **_HEAD,
        "with_objectness": False,
        "exp_on_reg": True,
        "share_conv": True,
        "pred_kernel_size": 1,
        "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]},
        "bbox_coder": {"type": "DistancePointBBoxCoder"},
    },
}


def detector(name: str) -> dict[str, Any]:
    """The model of a config: YOLOX, or one of ``HEADS`` on a ResNet-18 an eighth as wide."""
    if name == "YOLOX":
        return {
            "type": "YOLOX",
            "data_preprocessor": {"type": "DetDataPreprocessor", "pad_size_divisor": 32},
            "backbone": {
                "type": "CSPDarknet",
                "deepen_factor": 0.33,
                "widen_factor": 0.125,
                "out_indices": (2, 3, 4),
            },
            "neck": {
                "type": "YOLOXPAFPN",
                "in_channels": [32, 64, 128],
                "out_channels": 16,
                "num_csp_blocks": 1,
            },
            "bbox_head": {"type": "YOLOXHead", **_HEAD, "stacked_convs": 2},
            "test_cfg": {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.65}},
        }
    return {
        "type": "SingleStageDetector" if name != "RTMDet" else "RTMDet",
        "data_preprocessor": dict(_PREPROCESSOR),
        "backbone": dict(_BACKBONE),
        "neck": dict(_NECK),
        "bbox_head": dict(HEADS[name]),
        "test_cfg": dict(_TEST_CFG),
    }


def detector_config(name: str, annotations: Path, images: Path) -> dict[str, Any]:
    """A whole config: the model, and a validation set whose images are prepared as YOLOX's are."""
    pad = {"type": "Pad", "pad_to_square": True, "pad_val": {"img": (114.0, 114.0, 114.0)}}
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (128, 128), "keep_ratio": True},
        *([pad] if name in ("YOLOX", "RTMDet") else []),
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "PackDetInputs", "meta_keys": keys},
    ]
    loader = {
        "batch_size": 1,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": {
            "type": "CocoDataset",
            "metainfo": {"classes": CLASSES},
            "ann_file": str(annotations),
            "data_prefix": {"img": str(images)},
            "test_mode": True,
            "pipeline": pipeline,
        },
    }
    evaluator = {"type": "CocoMetric", "ann_file": str(annotations), "metric": "bbox"}
    return {
        "default_scope": "mmdet",
        "visualizer": {"type": "DetLocalVisualizer"},
        "model": detector(name),
        "val_dataloader": loader,
        "test_dataloader": loader,
        "val_evaluator": evaluator,
        "test_evaluator": evaluator,
    }


def write_config(path: Path, config: dict[str, Any]) -> Path:
    """Write a config as Python."""
    Config(ConfigDict(config)).dump(path)
    return path


@torch.no_grad()
def as_if_trained(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a detector random weights by which scores and boxes differ from place to place.

    Initial classifiers say 1 % everywhere, and statistics of norms are those of no data.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, conv in last_convs(model):
        # Distances are exponentials; and a deep network's features are wider than its scenes'.
        spread = 0.2 if "reg" in name else 0.1 if "class_" in name else 0.6
        conv.weight.normal_(0, spread / conv.in_channels**0.5, generator=generator)
    hooks = []
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.weight.uniform_(0.8, 1.2, generator=generator)
        hooks.append(norm.register_forward_pre_hook(_take_statistics))
    # As it predicts: in a deep network small differences of the statistics add up.
    model.eval()
    scenes = torch.rand(8, 3, 9, 9, generator=generator) * 255
    scenes = nn.functional.interpolate(scenes, size=(128, 160), mode="bilinear")
    inputs = model.data_preprocessor({"inputs": list(scenes), "data_samples": None})["inputs"]
    model.bbox_head(model.extract_feat(inputs))
    for hook in hooks:
        hook.remove()
    for name, conv in last_convs(model):
        if ("cls" in name or "class" in name) and conv.bias is not None:
            conv.bias.fill_(-2.0)
        if "obj" in name or "centerness" in name:
            conv.bias.fill_(1.0)
    return model.eval()


def _take_statistics(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
    norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    norm.running_var.copy_(inputs[0].var((0, 2, 3)))


def last_convs(model: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    """The convolutions of a head that predict: those without a norm behind them."""
    predict = ("multi_level_conv", "conv_cls", "conv_reg", "conv_obj", "conv_centerness",
               "atss_", "gfl_", "retina_", "rtm_")  # fmt: skip
    return [
        (name, module)
        for name, module in model.bbox_head.named_modules()
        if isinstance(module, nn.Conv2d)
        and (name.startswith(predict) or re.fullmatch(r"(box|class)_branches\.\d\.2", name))
    ]
