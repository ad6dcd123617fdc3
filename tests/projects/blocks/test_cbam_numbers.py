"""Promise: parameters and multiply-accumulates are those of the paper's tables."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.backbones import ResNet
from torch import nn

from mmattn.projects.blocks.cbam import CBAM
from mmattn.testing.module_costs import macs, parameters

IMAGE = (1, 3, 224, 224)


def resnet(depth: int, *, style: str = "pytorch", **cbam) -> nn.Module:
    position = "after_conv2" if depth < 50 else "after_conv3"
    plugins = [{"cfg": {"type": "mmattn.CBAM", **cbam}, "position": position}]
    with torch.device("meta"):
        return ResNet(depth, style=style, plugins=plugins if cbam else None)


def classifier(depth: int) -> tuple[int, int]:
    """Parameters and multiply-accumulates of the layer that a backbone lacks."""
    features = 512 if depth < 50 else 2048
    return 1000 * features + 1000, 1000 * features


@pytest.mark.parametrize(
    ("depth", "backbone", "extra", "millions", "printed"),
    [
        (18, 11_689_512, 89_880, 11.7794, 11.78),
        (34, 21_797_672, 162_796, 21.9605, 21.96),
        (50, 25_557_032, 2_532_592, 28.0896, 28.09),
        (101, 44_549_160, 4_781_012, 49.3302, 49.33),
    ],
)
def test_parameters_of_resnets(
    depth: int, backbone: int, extra: int, millions: float, printed: float
) -> None:
    plain = parameters(resnet(depth)) + classifier(depth)[0]
    total = parameters(resnet(depth, reduction=16)) + classifier(depth)[0]
    assert plain == backbone
    assert total - plain == extra
    assert round(total / 1e6, 4) == millions
    assert round(total / 1e6, 2) == printed


def test_without_biases_in_the_mlp_the_second_digit_differs() -> None:
    total = parameters(resnet(50, mlp_bias=False)) + classifier(50)[0]
    assert round(total / 1e6, 4) == 28.0736
    biases = 3 * (256 + 16) + 4 * (512 + 32) + 6 * (1024 + 64) + 3 * (2048 + 128)
    assert parameters(resnet(50, mlp_bias=True)) - parameters(resnet(50, mlp_bias=False)) == biases


@pytest.mark.parametrize(("depth", "mebi"), [(18, 11.234), (34, 20.943)])
def test_tables_of_others_count_in_units_of_two_to_the_twentieth(depth: int, mebi: float) -> None:
    """ECA-Net's table has CBAM so, and with the biases of the MLP."""
    total = parameters(resnet(depth, reduction=16)) + classifier(depth)[0]
    assert round(total / 2**20, 3) == mebi


@pytest.mark.parametrize(
    ("depth", "style", "plain", "with_cbam"),
    [
        (18, "pytorch", 1.8141, 1.8151),
        (34, "pytorch", 3.6638, 3.6654),
        # The paper's numbers, 3.864 and 7.581, have the stride on the first 1 x 1 convolution.
        (50, "caffe", 3.8580, 3.8644),
        (101, "caffe", 7.5702, 7.5814),
        # The released code has it on the 3 x 3 convolution, which costs more.
        (50, "pytorch", 4.0892, 4.0956),
        (101, "pytorch", 7.8014, 7.8126),
    ],
)
def test_multiply_accumulates_of_resnets(
    depth: int, style: str, plain: float, with_cbam: float
) -> None:
    without, total = (
        macs(resnet(depth, style=style, **cbam), *IMAGE) + classifier(depth)[1]
        for cbam in ({}, {"reduction": 16})
    )
    assert round(without / 1e9, 4) == plain
    assert round(total / 1e9, 4) == with_cbam
    # C^2 / 4 of each block for the MLP, twice, and 98 for each position.
    assert total - without == {
        18: 990_420, 34: 1_673_334, 50: 6_388_854, 101: 11_171_838,
    }[depth]  # fmt: skip


def test_multiply_accumulates_of_one_block() -> None:
    with torch.device("meta"):
        block = CBAM(256)
    assert macs(block, 1, 256, 56, 56) == 256**2 // 4 + 98 * 56 * 56
