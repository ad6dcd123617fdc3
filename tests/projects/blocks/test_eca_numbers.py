"""Promise: the cost of ECA is that of the authors' tables, once their units are known.

Their ImageNet table counts parameters in units of 2^20 and operations in 2^30, their detection
table both in powers of ten.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from mmdet.models.backbones import ResNet
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmattn.config import load_config
from mmattn.plugins import WithPlugins
from mmattn.projects.blocks.eca import ECA
from mmattn.testing.module_costs import macs, parameters

IMAGE = (1, 3, 224, 224)
# The published kernels, one for each stage.
PUBLISHED = {
    18: (3, 5, 7, 7),
    34: (3, 3, 5, 7),
    50: (3, 5, 5, 7),
    101: (3, 3, 5, 7),
    152: (3, 3, 5, 7),
}


def plugins(kernels: tuple[int, ...], position: str) -> list[dict]:
    return [
        {
            "cfg": {"type": "mmattn.ECA", "kernel_size": size},
            "stages": tuple(kernel == size for kernel in kernels),
            "position": position,
        }
        for size in dict.fromkeys(kernels)
    ]


def resnet(depth: int, entries: list[dict] | None = None) -> nn.Module:
    position = "after_conv2" if depth < 50 else "after_conv3"
    with torch.device("meta"):
        return ResNet(depth, plugins=entries or plugins(PUBLISHED[depth], position))


def classifier(depth: int) -> int:
    return 1000 * (512 if depth < 50 else 2048)


@pytest.mark.parametrize(
    ("depth", "backbone", "extra", "mebi", "printed"),
    [
        (18, 11_689_512, 44, 11.148, 11.15),
        (34, 21_797_672, 72, 20.788, 20.79),
        (50, 25_557_032, 80, 24.373, 24.37),
        (101, 44_549_160, 157, 42.486, 42.49),
        (152, 60_192_808, 234, 57.405, 57.40),
    ],
)
def test_parameters_of_resnets(
    depth: int, backbone: int, extra: int, mebi: float, printed: float
) -> None:
    """The paper prints 57.40 for ResNet-152, the repository 57.41."""
    total = parameters(resnet(depth)) + classifier(depth) + 1000
    assert total == backbone + extra
    assert round(total / 2**20, 3) == mebi
    assert total / 2**20 == pytest.approx(printed, abs=0.0051)
    assert abs(total / 1e6 - printed) > 0.5, "the table is not decimal"


def test_the_rule_gives_86_parameters_and_the_published_kernels_80() -> None:
    """Nor do the rule's values for the inner widths, 3, 5, 5, 5, give the published network."""
    blocks = (3, 4, 6, 3)
    by_rule = resnet(50, [{"cfg": {"type": "mmattn.ECA"}, "position": "after_conv3"}])
    kernels = [
        {block.eca.kernel_size for block in getattr(by_rule, f"layer{i}")} for i in range(1, 5)
    ]
    assert kernels == [{5}, {5}, {5}, {7}]
    extra = {
        name: parameters(net) + classifier(50) + 1000 - 25_557_032
        for name, net in (("rule", by_rule), ("published", resnet(50)))
    }
    assert extra == {"rule": 86, "published": 80}
    with torch.device("meta"):
        inner = [ECA(width).kernel_size for width in (64, 128, 256, 512)]
    assert inner == [3, 5, 5, 5]
    assert sum(k * n for k, n in zip(inner, blocks, strict=True)) == 74


def test_parameters_of_mobilenet() -> None:
    """One tap below 96 channels, else three."""
    few, many = (
        [f"layer{i}.*.linear_conv" for i in layers] for layers in ((1, 2, 3, 4), (5, 6, 7))
    )
    entries = [
        {"cfg": {"type": "mmattn.ECA", "kernel_size": size}, "at": at}
        for size, at in ((1, few), (3, many))
    ]
    with torch.device("meta"):
        net = WithPlugins({"type": "mmdet.MobileNetV2", "out_indices": (7,)}, entries)
    assert [block.kernel_size for block in net.plugins.values()] == 10 * [1] + 7 * [3]
    total = parameters(net) + 1280 * 1000 + 1000
    assert total == 3_504_872 + 31
    assert round(total / 2**20, 3) == 3.343


@dataclass
class Elements:
    """Count the elements of the inputs and outputs of a network's layers while it runs."""

    norms: int = 0
    relus: int = 0
    pooled: int = 0
    averaged: int = 0
    biases: int = 0
    transposed: int = 0
    handles: list = field(default_factory=list)

    def watch(self, net: nn.Module) -> Elements:
        for module in net.modules():
            self.handles.append(module.register_forward_hook(self.count))
        return self

    def count(self, module: nn.Module, args: tuple, output: Tensor) -> None:
        if isinstance(module, nn.BatchNorm2d):
            self.norms += output.numel()
        elif isinstance(module, nn.ReLU):
            self.relus += output.numel()
        elif isinstance(module, nn.MaxPool2d):
            self.pooled += args[0].numel()
        elif isinstance(module, ECA):
            self.averaged += args[0].numel()
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            if module.bias is not None:
                self.biases += output.numel()
            if isinstance(module, nn.ConvTranspose2d):
                taps = module.weight[0, 0].numel()
                per_element = module.in_channels * taps
                self.transposed += per_element * (output.numel() - output.numel() // taps)


@pytest.mark.parametrize(
    ("depth", "in_gates", "operations", "readme"),
    [
        (18, 12_416, 1.699, 1.70),
        (34, 20_544, 3.426, 3.43),
        (50, 86_272, 3.850, 3.86),
        pytest.param(101, 169_216, 7.326, 7.35, marks=pytest.mark.slow),
        pytest.param(152, 241_920, 10.807, 10.83, marks=pytest.mark.slow),
    ],
)
def test_operations_of_resnets(depth: int, in_gates: int, operations: float, readme: float) -> None:
    """In units of 2^30, and with four for each element of a batch norm.

    The repository's numbers also have activations and pooling; with one for each element they are
    met to 0.01. The blocks' own convolutions are nothing beside: 86,272 in a ResNet-50. (The
    paper's 4.7e-4 GFLOPs for them cannot be had from the definition.)
    """
    net = resnet(depth)
    seen = Elements().watch(net)
    total = macs(net, *IMAGE) + classifier(depth)
    with torch.device("meta"):
        plain = macs(ResNet(depth), *IMAGE) + classifier(depth)
    assert total - plain == in_gates
    assert round((plain + 4 * seen.norms) / 2**30, 3) == operations
    everything = total + 4 * seen.norms + seen.relus + seen.averaged
    assert everything / 2**30 == pytest.approx(readme, abs=0.01)


DETECTORS = {
    "faster": "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "mask": "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "retinanet": "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
}


def detector(name: str, depth: int, kernels: tuple[int, ...] | None) -> nn.Module:
    """As mmdet of that time had it: the background was a class with boxes and masks."""
    cfg = load_config(DETECTORS[name]).model
    cfg.backbone.update(depth=depth, init_cfg=None)
    if kernels:
        cfg.backbone.plugins = plugins(kernels, "after_conv3")
    if name == "mask":
        cfg.roi_head.mask_head.num_classes = 81
    with torch.device("meta"), DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg)
        if name != "retinanet":
            model.roi_head.bbox_head.fc_reg = nn.Linear(1024, 4 * 81)
    return model


class Dense(nn.Module):
    """The parts of a detector that the authors counted: 1000 boxes and 100 masks at the end."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> None:
        maps = self.model.neck(self.model.backbone(x))
        if not hasattr(self.model, "rpn_head"):
            self.model.bbox_head(maps)
            return
        self.model.rpn_head(maps)
        self.model.roi_head.bbox_head(x.new_empty(1000, 256, 7, 7))
        if self.model.roi_head.with_mask:
            self.model.roi_head.mask_head(x.new_empty(100, 256, 14, 14))


@pytest.mark.parametrize(
    ("name", "depth", "kernels", "millions", "billions"),
    [
        ("faster", 50, None, 41.53, 207.07),
        ("faster", 50, (5, 5, 5, 5), 41.53, 207.18),
        pytest.param("faster", 101, (3, 3, 5, 7), 60.52, 283.32, marks=pytest.mark.slow),
        pytest.param("mask", 50, (3, 3, 7, 7), 44.18, 275.69, marks=pytest.mark.slow),
        pytest.param("mask", 101, (3, 3, 5, 7), 63.17, 351.83, marks=pytest.mark.slow),
        ("retinanet", 50, (3, 3, 7, 7), 37.74, 239.43),
        pytest.param("retinanet", 101, (3, 3, 5, 7), 56.74, 315.57, marks=pytest.mark.slow),
    ],
)
def test_detectors(name: str, depth: int, kernels, millions: float, billions: float) -> None:
    """Decimal, at 1280 x 800, as mmdet's counter of that time had it.

    That counts trainable parameters alone (the stem and the first stage are frozen), biases of
    convolutions, two for each element of a norm and one for each of an activation or of what is
    pooled, and a transposed convolution as if it were one over the larger map.
    """
    model = detector(name, depth, kernels)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert round(trainable / 1e6, 2) == millions
    seen = Elements().watch(model)
    total = macs(Dense(model), 1, 3, 800, 1280) + seen.transposed
    total += 2 * seen.norms + seen.relus + seen.pooled + seen.averaged + seen.biases
    assert round(total / 1e9, 2) == billions
