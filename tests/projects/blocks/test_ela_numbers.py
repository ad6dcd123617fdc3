"""Promise: the four versions cost what the table of the paper's sizes says, in every network."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.backbones import ResNet
from torch import nn

from mmattn.errors import ConfigError
from mmattn.plugins import WithPlugins
from mmattn.projects.blocks.ela import ELA
from mmattn.testing.module_costs import macs, parameters

VERSIONS = ("T", "B", "S", "L")
PER_CHANNEL = (7, 9, 42, 58)


def resnet(depth: int, position: str, version: str) -> nn.Module:
    plugins = [{"cfg": {"type": "mmattn.ELA", "version": version}, "position": position}]
    with torch.device("meta"):
        return ResNet(depth, plugins=plugins)


@pytest.mark.parametrize(
    ("depth", "position", "channels", "extra"),
    [
        (18, "after_conv2", 1920, (13_440, 17_280, 80_640, 111_360)),
        (34, "after_conv2", 3776, (26_432, 33_984, 158_592, 219_008)),
        (50, "after_conv2", 3776, (26_432, 33_984, 158_592, 219_008)),
        (50, "after_conv3", 15104, (105_728, 135_936, 634_368, 876_032)),
        (101, "after_conv2", 8128, (56_896, 73_152, 341_376, 471_424)),
        (101, "after_conv3", 32512, (227_584, 292_608, 1_365_504, 1_885_696)),
    ],
)
def test_parameters_in_resnets(
    depth: int, position: str, channels: int, extra: tuple[int, ...]
) -> None:
    assert extra == tuple(channels * each for each in PER_CHANNEL)
    for version, expected in zip(VERSIONS, extra, strict=True):
        net = resnet(depth, position, version)
        blocks = [module for module in net.modules() if isinstance(module, ELA)]
        assert sum(block.in_channels for block in blocks) == channels
        assert sum(map(parameters, blocks)) == expected


def mobilenet(version: str, **kwargs) -> nn.Module:
    """The authors' places: after the depthwise convolution of all blocks that expand."""
    cfg = {"type": "mmattn.ELA", "version": version, **kwargs}
    inner = {"type": "mmdet.MobileNetV2", "out_indices": (7,)}
    at = "layer[2-7].*.depthwise_conv"
    with torch.device("meta"):
        return WithPlugins(inner, [{"cfg": cfg, "at": at}])


@pytest.mark.parametrize(
    ("version", "extra"), [("T", 49_728), ("B", 63_936), ("S", 298_368), ("L", 412_032)]
)
def test_parameters_in_mobilenet(version: str, extra: int) -> None:
    # T needs the fallback, which changes groups of the norm and no number of parameters.
    net = mobilenet(version, fallback="divisor" if version == "T" else None)
    assert sum(block.in_channels for block in net.plugins.values()) == 7104
    assert parameters(net.plugins) == extra
    classifier = 1280 * 1000 + 1000
    assert parameters(net) - extra + classifier == 3_504_872


def test_version_t_does_not_fit_mobilenet() -> None:
    """144 channels and 32 groups: the error names them, and the place."""
    with pytest.raises(ConfigError, match=r"layer2\.1\.depthwise_conv.*ELA.*in_channels=144.*32"):
        mobilenet("T")


def test_multiply_accumulates() -> None:
    """(H + W) C (C / groups) k for the convolution, and k // 2 zeros between the two strips."""
    with torch.device("meta"):
        block = ELA(256, version="L")
    found = macs(block, 1, 256, 56, 56)
    assert found == (56 + 3 + 56) * 256 * 8 * 7
    with torch.device("meta"):
        block = ELA(256, version="T")
    assert macs(block, 1, 256, 40, 60) == (40 + 2 + 60) * 256 * 5
