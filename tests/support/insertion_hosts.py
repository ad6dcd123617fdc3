"""Networks for the table of insertions: every family that blocks are inserted into, each small.

Widths at the places are multiples of 32, which every block can work with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmattn.registry import MODELS

Shapes = Sequence[tuple[int, ...]]
_SMALL = {"base_channels": 32, "stem_channels": 32, "num_stages": 2, "out_indices": (0, 1)}
_TWO = {"strides": (1, 2), "dilations": (1, 1), "norm_eval": False, **_SMALL}
_IMAGES = (((3, 65, 97),), ((3, 39, 51),))


@dataclass(frozen=True)
class Host:
    """A network and places in it.

    Attributes:
        inner: Config of the network.
        places: Entries of ``plugins`` without ``cfg``; those with ``position`` are the network's
            own, all others those of ``mmattn.WithPlugins``.
        sizes: Shapes (C, H, W) of its input, or inputs, twice: odd and not square.
    """

    inner: Mapping[str, Any]
    places: tuple[Mapping[str, Any], ...]
    sizes: tuple[Shapes, Shapes] = _IMAGES

    @property
    def is_slot(self) -> bool:
        """Return whether the blocks go into the network's own ``plugins``."""
        return "position" in self.places[0]

    def build(
        self, *blocks: Mapping[str, Any], places: int | None = None, seed: int = 0
    ) -> nn.Module:
        """Build the network with each of ``blocks`` at the first of its places, or at all."""
        torch.manual_seed(seed)
        entries = [
            {"cfg": {**block, "postfix": f"_{n}_{m}"} if self.is_slot else dict(block), **place}
            for n, place in enumerate(self.places[:places])
            for m, block in enumerate(blocks)
        ]
        if self.is_slot:
            return MODELS.build({**self.inner, "plugins": entries} if entries else self.inner)
        told = {} if isinstance(self.inputs(0), Tensor) else {"input_shapes": self.sizes[0]}
        return MODELS.build(
            {"type": "mmattn.WithPlugins", "inner": self.inner, "plugins": entries, **told}
        )

    def inputs(self, number: int, batch: int = 1) -> Tensor | list[Tensor]:
        """Return an input of one of the two sizes."""
        generator = torch.Generator().manual_seed(number)
        maps = [torch.randn((batch, *shape), generator=generator) for shape in self.sizes[number]]
        return maps[0] if len(maps) == 1 and self.sizes[number][0][0] == 3 else maps


def _slots(*positions: str, stages: tuple[bool, ...] = (True, True)) -> tuple[dict, ...]:
    return tuple({"position": position, "stages": stages} for position in positions)


def _levels(channels: Sequence[int], *sides: tuple[int, int]) -> tuple[Shapes, Shapes]:
    """Return shapes of feature maps, each of half the size of the one before."""
    two = [
        [(c, height >> i, width >> i) for i, c in enumerate(channels)] for height, width in sides
    ]
    return two[0], two[1]


_PYRAMID = _levels((32, 64, 64), (20, 28), (12, 36))
_SAME = _levels((32, 32, 32), (20, 28), (12, 36))
_HEAD = {"num_classes": 2, "in_channels": 32, "feat_channels": 32, "stacked_convs": 1}

HOSTS: dict[str, Host] = {
    "ResNet-18 (mmdet), own plugins": Host(
        {"type": "mmdet.ResNet", "depth": 18, **_TWO}, _slots("after_conv1", "after_conv2")
    ),
    "ResNet-50 (mmdet), own plugins": Host(
        {"type": "mmdet.ResNet", "depth": 50, **_TWO},
        _slots("after_conv1", "after_conv2", "after_conv3", stages=(True, False)),
    ),
    "ResNetV1c-50 (mmseg), own plugins": Host(
        {"type": "mmseg.ResNetV1c", "depth": 50, **_TWO},
        _slots("after_conv2", "after_conv3", stages=(True, False)),
    ),
    "ResNeXt-50 (mmdet), own plugins": Host(
        {"type": "mmdet.ResNeXt", "depth": 50, "groups": 4, "base_width": 8, **_TWO},
        _slots("after_conv3", stages=(True, False)),
    ),
    "Res2Net-50 (mmdet), own plugins": Host(
        {"type": "mmdet.Res2Net", "depth": 50, "scales": 4, "base_width": 8, **_TWO},
        _slots("after_conv3", stages=(True, False)),
    ),
    "ResNet-18 (mmseg)": Host(
        {"type": "mmseg.ResNet", "depth": 18, **_TWO},
        ({"at": "layer1.*.conv2"}, {"at": "layer2.*"}, {"stages": (0, 1)}),
    ),
    "CSPDarknet (mmdet, YOLOX)": Host(
        {
            "type": "mmdet.CSPDarknet",
            "widen_factor": 0.5,
            "deepen_factor": 0.34,
            "out_indices": (1, 2),
        },
        ({"at": "stage1.1"}, {"at": "stage1.1.blocks.*"}, {"stages": (0,)}),
        # Its stem folds two rows and two columns into channels.
        (((3, 66, 98),), ((3, 38, 54),)),
    ),
    "CSPNeXt (mmdet, RTMDet)": Host(
        {
            "type": "mmdet.CSPNeXt",
            "widen_factor": 0.5,
            "deepen_factor": 0.34,
            "out_indices": (1, 2),
        },
        ({"at": "stage1.1"}, {"at": "stage1.1.blocks.*"}, {"stages": (0,)}),
    ),
    "YOLOv12 (mmattn)": Host(
        {"type": "mmattn.YOLOv12Backbone", "scale": "n"}, ({"stages": (0, 1)},)
    ),
    "Swin (mmdet)": Host(
        {
            "type": "mmdet.SwinTransformer",
            "embed_dims": 32,
            "depths": (1, 2),
            "num_heads": (1, 2),
            "strides": (4, 2),
            "out_indices": (0, 1),
            "window_size": 4,
        },
        ({"at": "stages.*.blocks.*"}, {"stages": (0, 1)}),
    ),
    "Swin (mmseg)": Host(
        {
            "type": "mmseg.SwinTransformer",
            "embed_dims": 32,
            "depths": (1, 2),
            "num_heads": (1, 2),
            "strides": (4, 2),
            "out_indices": (0, 1),
            "window_size": 4,
        },
        ({"at": "stages.1.blocks.*"}, {"stages": (1,)}),
    ),
    "PVTv2 (mmdet)": Host(
        {
            "type": "mmdet.PyramidVisionTransformerV2",
            "embed_dims": 32,
            "num_layers": [1, 1, 1, 1],
            "num_heads": [1, 1, 1, 1],
        },
        ({"at": "layers.0.1.*"}, {"stages": (0, 3)}),
    ),
    "MiT (mmseg, SegFormer)": Host(
        {
            "type": "mmseg.MixVisionTransformer",
            "embed_dims": 32,
            "num_layers": [1, 1, 1, 1],
            "num_heads": [1, 1, 1, 1],
        },
        ({"at": "layers.*.1.*"}, {"stages": (0, 1)}),
    ),
    "ConvNeXt (timm)": Host(
        {
            "type": "mmattn.TimmBackbone",
            "model_name": "convnext_atto",
            "depths": (1, 1, 1, 1),
            "dims": (32, 32, 64, 64),
        },
        ({"at": "timm_model.stages_*.blocks.0"}, {"stages": (0, 3)}),
    ),
    "ResNet (timm)": Host(
        {"type": "mmattn.TimmBackbone", "model_name": "test_resnet"},
        ({"at": "timm_model.layer1.0.bn2"}, {"at": "timm_model.layer4"}, {"stages": (1, 3)}),
    ),
    "EfficientNet (timm)": Host(
        {"type": "mmattn.TimmBackbone", "model_name": "test_efficientnet"},
        ({"at": "timm_model.blocks.2"}, {"stages": (2, 4)}),
    ),
    "MambaOut, channels last (timm)": Host(
        {
            "type": "mmattn.TimmBackbone",
            "model_name": "mambaout_femto",
            "dims": (32, 32, 64, 64),
            "depths": (1, 1, 1, 1),
        },
        ({"at": "timm_model.stages_1.blocks.0"}, {"stages": (0, 2)}),
    ),
    "MobileNetV2 (mmdet)": Host(
        {"type": "mmdet.MobileNetV2", "out_indices": (2, 4)},
        ({"at": "layer3.*"}, {"at": "layer3.[12].depthwise_conv"}, {"stages": (0, 1)}),
    ),
    "MobileNetV2 (mmseg)": Host(
        {"type": "mmseg.MobileNetV2", "out_indices": (2, 4)},
        ({"at": "layer3.*"}, {"stages": (0, 1)}),
    ),
    "HRNet (mmseg)": Host(
        {
            "type": "mmseg.HRNet",
            "extra": {
                f"stage{i}": {
                    "num_modules": 1,
                    "num_branches": i,
                    "block": "BOTTLENECK" if i == 1 else "BASIC",
                    "num_blocks": (1,) * i,
                    "num_channels": (32,) * i,
                }
                for i in range(1, 5)
            },
        },
        ({"at": "stage4.0.branches.*"}, {"stages": (0, 3)}),
        # Its branches are added after enlarging by whole factors.
        (((3, 96, 160),), ((3, 64, 32),)),
    ),
    "FPN (mmdet)": Host(
        {"type": "mmdet.FPN", "in_channels": [32, 64, 64], "out_channels": 32, "num_outs": 4},
        ({"at": "lateral_convs.*"}, {"at": "fpn_convs.*"}, {"stages": (0, 1, 2, 3)}),
        _levels((32, 64, 64), (21, 29), (13, 37)),
    ),
    "PAFPN (mmdet)": Host(
        {"type": "mmdet.PAFPN", "in_channels": [32, 64, 64], "out_channels": 32, "num_outs": 3},
        ({"at": "pafpn_convs.*"}, {"stages": (0, 1, 2)}),
        _PYRAMID,
    ),
    "YOLOXPAFPN (mmdet)": Host(
        {
            "type": "mmdet.YOLOXPAFPN",
            "in_channels": [32, 64, 64],
            "out_channels": 32,
            "num_csp_blocks": 1,
        },
        ({"at": "bottom_up_blocks.*"}, {"stages": (0, 1, 2)}),
        _PYRAMID,
    ),
    "RetinaNet's towers (mmdet)": Host(
        {"type": "mmdet.RetinaHead", **_HEAD},
        ({"at": "cls_convs.*"}, {"at": "reg_convs.*"}),
        _SAME,
    ),
    "FCOS's towers (mmdet)": Host(
        {"type": "mmdet.FCOSHead", "strides": (8, 16, 32), **_HEAD},
        ({"at": "cls_convs.*"}, {"at": "reg_convs.*"}),
        _SAME,
    ),
    "FCN's head (mmseg)": Host(
        {"type": "mmseg.FCNHead", "in_channels": 64, "channels": 32, "num_classes": 3},
        ({"at": "convs.*"},),
        (((64, 9, 13),), ((64, 7, 5),)),
    ),
    "UPerNet's head (mmseg)": Host(
        {
            "type": "mmseg.UPerHead",
            "in_channels": [32, 64, 64],
            "in_index": [0, 1, 2],
            "pool_scales": (1, 2),
            "channels": 32,
            "num_classes": 3,
        },
        ({"at": ["bottleneck", "fpn_convs.*"]},),
        _levels((32, 64, 64), (21, 29), (13, 37)),
    ),
    "Mask2Former's pixel decoder (mmattn)": Host(
        {
            "type": "mmattn.Mask2FormerDecodeHead",
            "in_channels": [32, 32, 64, 64],
            "num_classes": 3,
            "num_queries": 5,
            "channels": 32,
            "num_heads": 2,
            "encoder_layers": 1,
            "encoder_ffn_channels": 32,
            "decoder_layers": 3,
            "decoder_ffn_channels": 32,
        },
        ({"at": "pixel_decoder.output_convs.*"},),
        _levels((32, 32, 64, 64), (24, 40), (40, 16)),
    ),
}


def tensors(output: Any) -> Iterator[Tensor]:
    """Yield all tensors of an output, in their order."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from tensors(value)


def inserted(network: nn.Module) -> dict[str, nn.Module]:
    """Return the inserted blocks by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if getattr(module, "allow_missing_keys", False)
    }
