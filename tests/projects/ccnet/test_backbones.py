"""Promise: the backbones are the authors', or compute what their weights were trained for."""

from __future__ import annotations

import pytest
import torch
from mmdet.models.backbones import ResNet
from mmseg.models.backbones import MobileNetV2, ResNetV1c
from torch import nn

from mmattn.projects.ccnet import CeilPoolResNetV1c, DilatedMobileNetV2, StagePluginResNet

OFFICIAL = {
    "depth": 50,
    "base_channels": 4,
    "stem_channels": 8,
    "dilations": (1, 1, 2, 4),
    "strides": (1, 2, 1, 1),
    "contract_dilation": False,
}


def evaluating(net: nn.Module) -> nn.Module:
    """``net`` in eval mode; the backbones' own ``eval`` does not return it."""
    net.eval()
    return net


@pytest.mark.parametrize(("size", "ceil", "floor"), [((97, 97), 13, 13), ((64, 128), 9, 8)])
def test_ceil_pooling_gives_the_authors_sizes(size, ceil: int, floor: int) -> None:
    """As 769 gives 97 in both, and 1024 gives 129 for the authors and 128 for mmseg."""
    x = torch.randn(1, 3, *size)
    assert evaluating(CeilPoolResNetV1c(**OFFICIAL))(x)[-1].shape[2] == ceil
    assert evaluating(ResNetV1c(**OFFICIAL))(x)[-1].shape[2] == floor


def test_authors_stem_and_dilations() -> None:
    with torch.device("meta"):
        net = CeilPoolResNetV1c(**{**OFFICIAL, "base_channels": 64, "stem_channels": 128})
    stem = [m.weight.shape[:2] for m in net.stem if hasattr(m, "weight") and m.weight.dim() == 4]
    assert stem == [(64, 3), (64, 64), (128, 64)]
    for stage, dilation in ((net.layer3, 2), (net.layer4, 4)):
        assert {block.conv2.dilation for block in stage} == {(dilation, dilation)}


@pytest.mark.parametrize("output_stride", [4, 8, 16, 32])
@pytest.mark.parametrize("size", [(64, 96), (45, 61)])
def test_dilated_mobilenet_agrees_with_the_strided_one(output_stride: int, size) -> None:
    torch.manual_seed(0)
    strided = evaluating(MobileNetV2(out_indices=(6,)))
    dilated = evaluating(DilatedMobileNetV2(output_stride=output_stride, out_indices=(6,)))
    dilated.load_state_dict(strided.state_dict(), strict=True)
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        coarse, dense = strided(x), dilated(x)
    assert dense.shape[2] == -(-size[0] // output_stride)
    step = 32 // output_stride
    torch.testing.assert_close(dense[:, :, ::step, ::step], coarse, rtol=1e-4, atol=1e-5)


def test_unknown_output_stride_is_named() -> None:
    with pytest.raises(ValueError, match="output_stride must be 4, 8, 16 or 32, got 12"):
        DilatedMobileNetV2(output_stride=12)


def plugins(position: str, **extra) -> list[dict]:
    cfg = {"type": "mmattn.CrissCrossAttention", "recurrence": 2, **extra}
    return [{"cfg": cfg, "stages": (False, False, True, False), "position": position}]


@pytest.mark.parametrize("depth", [18, 50])
def test_one_module_before_the_last_block_of_a_stage(depth: int) -> None:
    torch.manual_seed(0)
    plain = evaluating(ResNet(depth, base_channels=8))
    plugged = evaluating(
        StagePluginResNet(depth=depth, base_channels=8, plugins=plugins("before_last_block"))
    )
    report = plugged.load_state_dict(plain.state_dict(), strict=False)
    assert not report.unexpected_keys, "weights of a plain ResNet fit"
    assert {key.rsplit(".", 2)[0] for key in report.missing_keys if "conv" in key} == {
        "layer3.criss_cross_attention"
    }
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(plugged(x), plain(x), strict=True):
            assert torch.equal(a, b), "a fresh module must be the identity"
        seen = []
        attention = plugged.layer3.criss_cross_attention
        attention.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
        attention.gamma.fill_(1)
        changed = plugged(x)
        assert torch.equal(changed[1], plain(x)[1])
        assert torch.equal(changed[2], plugged.layer3[len(plain.layer3) - 1](seen[0][1]))
        assert torch.equal(seen[0][0], nn.Sequential(*list(plugged.layer3)[:-2])(changed[1]))


def test_mmdets_own_positions_still_work() -> None:
    both = plugins("before_last_block") + plugins("after_conv3", reduction=4)
    net = StagePluginResNet(depth=50, base_channels=4, plugins=both)
    names = [name for name, _ in net.named_modules() if name.endswith("criss_cross_attention")]
    assert "layer3.criss_cross_attention" in names
    assert len([name for name in names if name.startswith("layer3.")]) == 1 + len(net.layer3) - 1
    assert all(name.startswith("layer3.") for name in names)


def test_two_plugins_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="give one of them a postfix"):
        StagePluginResNet(depth=18, base_channels=8, plugins=2 * plugins("before_last_block"))
