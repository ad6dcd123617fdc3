"""The authors' detectors, written down from their description, with their names.

Deformable convolutions are torchvision's; a coarser level reads the beginning of the offsets.
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

STAGES = {"res2": 3, "res3": 4, "res4": 6, "res5": 3}


class NormedConv(nn.Conv2d):
    """detectron2's convolution, with its frozen norm inside."""

    def __init__(self, cin: int, cout: int, size: int, stride: int = 1):
        super().__init__(cin, cout, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


class Bottleneck(nn.Module):
    """The stride is in the first convolution, as in MSRA's weights."""

    def __init__(self, cin: int, width: int, stride: int):
        super().__init__()
        self.conv1 = NormedConv(cin, width, 1, stride)
        self.conv2 = NormedConv(width, width, 3)
        self.conv3 = NormedConv(width, 4 * width, 1)
        self.shortcut = None
        if cin != 4 * width:
            self.shortcut = NormedConv(cin, 4 * width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv3(self.conv2(self.conv1(x).relu()).relu())
        return (y + (self.shortcut(x) if self.shortcut else x)).relu()


class ResNet(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv1 = NormedConv(3, width, 7, 2)
        cin = width
        for index, (name, blocks) in enumerate(STAGES.items()):
            inner = width * 2**index
            layer = []
            for block in range(blocks):
                layer.append(Bottleneck(cin, inner, 2 if index and not block else 1))
                cin = 4 * inner
            self.add_module(name, nn.Sequential(*layer))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = F.max_pool2d(self.stem.conv1(x).relu(), 3, 2, 1)
        maps = {}
        for name in STAGES:
            maps[name] = x = getattr(self, name)(x)
        return maps


class Pyramid(nn.Module):
    """FPN; with ``top_block`` P6 is a convolution of P5 and P7 one of ReLU(P6), else P6 is P5."""

    def __init__(self, bottom_up: nn.Module, channels: dict[int, int], out: int, top_block: bool):
        super().__init__()
        self.bottom_up = bottom_up
        self.levels = sorted(channels)
        for level in self.levels:
            self.add_module(f"fpn_lateral{level}", nn.Conv2d(channels[level], out, 1))
            self.add_module(f"fpn_output{level}", nn.Conv2d(out, out, 3, padding=1))
        self.top_block = None
        if top_block:
            self.top_block = nn.Module()
            self.top_block.p6 = nn.Conv2d(out, out, 3, 2, 1)
            self.top_block.p7 = nn.Conv2d(out, out, 3, 2, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps, outputs, above = self.bottom_up(x), [], None
        for level in reversed(self.levels):
            lateral = getattr(self, f"fpn_lateral{level}")(maps[f"res{level}"])
            above = lateral if above is None else lateral + F.interpolate(above, scale_factor=2)
            outputs.insert(0, getattr(self, f"fpn_output{level}")(above))
        if self.top_block is None:
            return [*outputs, F.max_pool2d(outputs[-1], 1, 2)]
        p6 = self.top_block.p6(outputs[-1])
        return [*outputs, p6, self.top_block.p7(p6.relu())]


class DeformConvNorm(nn.Module):
    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, 1)
        self.bn = nn.GroupNorm(16, channels)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        stride = self.conv.stride[0]
        size = [-(-side // stride) for side in x.shape[2:]]
        numbers = size[0] * size[1]
        offset = offset.flatten(1)[:, : 18 * numbers].reshape(-1, 18, *size)
        mask = mask.flatten(1)[:, : 9 * numbers].reshape(-1, 9, *size)
        weights = (self.conv.weight, self.conv.bias, stride, 1, 1)
        return self.bn(torchvision.ops.deform_conv2d(x, offset, *weights, mask))


class Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.DyConv = nn.ModuleList(DeformConvNorm(channels, stride) for stride in (1, 1, 2))
        self.AttnConv = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 1, 1), nn.ReLU())
        self.offset = nn.Conv2d(channels, 27, 3, padding=1)
        self.relu = nn.Module()
        self.relu.fc = nn.Sequential(
            nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, 4 * channels)
        )

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        outputs = []
        for i, x in enumerate(levels):
            sampling = self.offset(x)
            points = sampling[:, :18], sampling[:, 18:].sigmoid()
            maps = [self.DyConv[1](x, *points)]
            if i > 0:
                maps.append(self.DyConv[2](levels[i - 1], *points))
            if i < len(levels) - 1:
                high = self.DyConv[0](levels[i + 1], *points)
                maps.append(F.interpolate(high, x.shape[2:], mode="bilinear", align_corners=True))
            gated = [m * (F.relu6(self.AttnConv(m) + 3) / 6) for m in maps]
            outputs.append(self.activate(torch.stack(gated).mean(0)))
        return outputs

    def activate(self, x: Tensor) -> Tensor:
        theta = F.relu6(self.relu.fc(x.mean((2, 3))) + 3) / 6
        a1, b1, a2, b2 = theta[..., None, None].chunk(4, 1)
        a1, a2 = (a1 - 0.5) * 2 + 1, (a2 - 0.5) * 2
        return torch.maximum(a1 * x + b1 - 0.5, a2 * x + b2 - 0.5)


class DyHead(nn.Module):
    def __init__(self, pyramid: Pyramid, channels: int, blocks: int):
        super().__init__()
        self.backbone = pyramid
        self.dyhead_tower = nn.Sequential(*(Block(channels) for _ in range(blocks)))

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.dyhead_tower(self.backbone(x))


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class ATSSHead(nn.Module):
    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.cls_logits = nn.Conv2d(channels, classes, 1)
        self.bbox_pred = nn.Conv2d(channels, 4, 1)
        self.centerness = nn.Conv2d(channels, 1, 1)
        self.scales = nn.ModuleList(Scale() for _ in range(5))

    def forward(self, levels: list[Tensor]) -> list[list[Tensor]]:
        boxes = [
            self.bbox_pred(x) * scale.scale for x, scale in zip(levels, self.scales, strict=True)
        ]
        return [[self.cls_logits(x) for x in levels], boxes, [self.centerness(x) for x in levels]]


def towers(channels: int, convs: int) -> nn.Sequential:
    """A tower of RetinaNet: convolutions at even places, a ReLU behind each."""
    layers = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(convs)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))


class RetinaHead(nn.Module):
    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.cls_subnet, self.bbox_subnet = towers(channels, 4), towers(channels, 4)
        self.cls_score = nn.Conv2d(channels, 9 * classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(channels, 36, 3, padding=1)

    def forward(self, levels: list[Tensor]) -> list[list[Tensor]]:
        return [
            [self.cls_score(self.cls_subnet(x)) for x in levels],
            [self.bbox_pred(self.bbox_subnet(x)) for x in levels],
        ]


class RPNHead(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness_logits = nn.Conv2d(channels, 3, 1)
        self.anchor_deltas = nn.Conv2d(channels, 12, 1)

    def forward(self, levels: list[Tensor]) -> list[list[Tensor]]:
        maps = [self.conv(x).relu() for x in levels]
        return [[self.objectness_logits(x) for x in maps], [self.anchor_deltas(x) for x in maps]]


class Official(nn.Module):
    """ATSS, RetinaNet or Faster R-CNN with two blocks.

    Args:
        detector: ``atss``, ``retinanet`` or ``faster-rcnn``.
        width: Channels of the first stage, 64 in a ResNet-50.
        channels: Channels of the pyramid.
        classes: Number of classes.
    """

    def __init__(self, detector: str, width: int = 8, channels: int = 32, classes: int = 3):
        super().__init__()
        self.detector = detector
        lowest = 2 if detector == "faster-rcnn" else 3
        inner = {level: width * 2**level for level in range(lowest, 6)}
        pyramid = Pyramid(ResNet(width), inner, channels, detector != "faster-rcnn")
        self.backbone = DyHead(pyramid, channels, blocks=2)
        if detector == "faster-rcnn":
            self.proposal_generator = nn.Module()
            self.proposal_generator.rpn_head = RPNHead(channels)
            self.roi_heads = nn.Module()
            self.roi_heads.box_head = nn.Module()
            self.roi_heads.box_head.fc1 = nn.Linear(channels * 49, 64)
            self.roi_heads.box_head.fc2 = nn.Linear(64, 64)
            self.roi_heads.box_predictor = nn.Module()
            self.roi_heads.box_predictor.cls_score = nn.Linear(64, classes + 1)
            self.roi_heads.box_predictor.bbox_pred = nn.Linear(64, 4 * classes)
        else:
            head = ATSSHead if detector == "atss" else RetinaHead
            self.head = head(channels, classes)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        levels = self.backbone(x)
        faster = self.detector == "faster-rcnn"
        return (self.proposal_generator.rpn_head if faster else self.head)(levels)

    def regions(self, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Classes and boxes of cut-out features, (R, C, 7, 7)."""
        head, predictor = self.roi_heads.box_head, self.roi_heads.box_predictor
        hidden = head.fc2(head.fc1(rois.flatten(1)).relu()).relu()
        return predictor.cls_score(hidden), predictor.bbox_pred(hidden)

    def published_state(self) -> dict[str, Tensor]:
        """The state dict, as detectron2 writes it: frozen norms count no batches."""
        return {k: v for k, v in self.state_dict().items() if not k.endswith("batches_tracked")}
