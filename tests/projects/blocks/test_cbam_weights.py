"""Promise: weights of the authors, timm and mmyolo load with no key left over, and mean the same.

The authors' and mmyolo's modules are rebuilt here from their descriptions, names included.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

import pytest
import timm
import torch
from mmengine.registry import MODELS
from timm.layers.cbam import CbamModule
from torch import Tensor, nn
from torch.nn import functional as F

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io import load_state_dict
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.cbam import CBAM
from tests.support.official_networks import (
    assert_same_maps,
    network_of_note,
    official_resnet,
    stage_maps,
    with_trained_norms,
)


class Named(nn.Module):
    """A module with children of given names."""

    def __init__(self, **children: nn.Module):
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


class OfficialCBAM(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        linears = nn.Linear(channels, channels // 16), nn.Linear(channels // 16, channels)
        self.ChannelGate = Named(mlp=nn.Sequential(nn.Flatten(), linears[0], nn.ReLU(), linears[1]))
        conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.SpatialGate = Named(
            spatial=nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(1, momentum=0.01)))
        )

    def forward(self, x: Tensor) -> Tensor:
        mlp, window = self.ChannelGate.mlp, x.shape[2:]
        gate = torch.sigmoid(mlp(F.avg_pool2d(x, window)) + mlp(F.max_pool2d(x, window)))
        x = x * gate[:, :, None, None]
        maps = torch.cat([x.max(1)[0].unsqueeze(1), x.mean(1).unsqueeze(1)], 1)
        return x * torch.sigmoid(self.SpatialGate.spatial(maps))


class MMYoloCBAM(nn.Module):
    """The mean comes first, and the convolution has a bias and no norm."""

    def __init__(self, channels: int):
        super().__init__()
        squeeze = nn.Conv2d(channels, channels // 16, 1)
        excite = nn.Conv2d(channels // 16, channels, 1)
        self.channel_attention = Named(fc=nn.Sequential(Named(conv=squeeze), Named(conv=excite)))
        self.spatial_attention = Named(conv=Named(conv=nn.Conv2d(2, 1, 7, padding=3)))

    def forward(self, x: Tensor) -> Tensor:
        squeeze, excite = (layer.conv for layer in self.channel_attention.fc)

        def fc(pooled: Tensor) -> Tensor:
            return excite(squeeze(pooled).relu())

        x = x * (fc(x.mean((2, 3), keepdim=True)) + fc(x.amax((2, 3), keepdim=True))).sigmoid()
        maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * self.spatial_attention.conv.conv(maps).sigmoid()


def cbam_resnet(depth: int) -> nn.Module:
    return with_trained_norms(official_resnet(depth, "cbam", lambda _, c: OfficialCBAM(c)))


@pytest.fixture(scope="module")
def official() -> nn.Module:
    return cbam_resnet(50)


def file(net: nn.Module) -> dict:
    """As the authors' training script writes it; their torch counted no batches."""
    weights = {
        f"module.{key}": value
        for key, value in net.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    return {"epoch": 100, "arch": "resnet", "state_dict": weights, "best_prec1": 77.622}


@pytest.mark.parametrize("scope", ["mmdet", "mmseg"])
def test_official_resnet50_is_the_same_network(official: nn.Module, scope: str) -> None:
    conversion = convert_checkpoint(file(official))
    assert conversion.converter == "cbam-official"
    assert conversion.left_out == ("fc.weight", "fc.bias")
    ours = network_of_note(conversion.note, scope)
    report = load_state_dict(ours, conversion.state_dict, strict=True)
    assert report.complete
    assert report.total == len(conversion.state_dict)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert_same_maps(ours(x), stage_maps(official, x))


def test_official_layout_of_basic_blocks() -> None:
    theirs = cbam_resnet(18)
    conversion = convert_checkpoint(file(theirs))
    assert "depth=18" in conversion.note
    ours = network_of_note(conversion.note, "mmdet")
    assert load_state_dict(ours, conversion.state_dict, strict=True).complete
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert_same_maps(ours(x), stage_maps(theirs, x))


def test_official_names_are_ours_in_both_directions(official: nn.Module) -> None:
    conversion = convert_checkpoint(file(official))
    back = convert_checkpoint(conversion.state_dict, "cbam-official", reverse=True)
    assert {f"module.{key}" for key in back.state_dict} == {
        key for key in file(official)["state_dict"] if ".fc." not in key
    }


def test_authors_weights_classify_in_timm(official: nn.Module) -> None:
    """Their classifier comes along, and the two maps before the convolution change places."""
    attention = partial(CbamModule, mlp_bias=True)
    theirs = timm.create_model("resnet50", block_args={"attn_layer": attention}).eval()
    conversion = convert_checkpoint(file(official), "cbam-timm", reverse=True)
    assert load_state_dict(theirs, conversion.state_dict, strict=True).complete
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert_same_maps([theirs(x)], [official(x)])
    there = convert_checkpoint(conversion.state_dict, "cbam-timm").state_dict
    state = {k.removeprefix("module."): v for k, v in file(official)["state_dict"].items()}
    assert there.keys() == {key for key in state if not key.startswith("fc.")}
    assert all(torch.equal(there[key], state[key]) for key in there)


def test_timms_network_with_a_deep_stem_is_the_same() -> None:
    theirs = timm.create_model("resnet50d", block_args={"attn_layer": "cbam"})
    theirs = with_trained_norms(theirs)
    conversion = convert_checkpoint(theirs.state_dict())
    assert conversion.converter == "cbam-timm"
    assert "dict(type='mmattn.CBAM', mlp_bias=False)" in conversion.note
    cfg = {"type": "mmattn.CBAM", "mlp_bias": False}
    ours = MODELS.build(
        {
            "type": "mmdet.ResNetV1d",
            "depth": 50,
            "plugins": [{"cfg": cfg, "position": "after_conv3"}],
        }
    )
    ours.eval()
    assert load_state_dict(ours, conversion.state_dict, strict=True).complete
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert_same_maps(ours(x), stage_maps(theirs, x))
    back = convert_checkpoint(conversion.state_dict, "cbam-timm", reverse=True).state_dict
    expected = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[key], expected[key]) for key in back)


def test_mmyolos_block_is_the_same_in_both_directions() -> None:
    torch.manual_seed(0)
    theirs = Named(neck=nn.Sequential(nn.Conv2d(3, 32, 1), MMYoloCBAM(32)))
    conversion = convert_checkpoint(theirs.state_dict())
    assert conversion.converter == "cbam-mmyolo"
    assert "spatial_bias=True, spatial_norm=False" in conversion.note
    ours = Named(neck=nn.Sequential(nn.Conv2d(3, 32, 1), CBAM(32, **CBAM.variants["mmyolo"])))
    ours.load_state_dict(conversion.state_dict, strict=True)
    x = torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(ours.neck(x), theirs.neck(x))
    back = convert_checkpoint(conversion.state_dict, "cbam-mmyolo", reverse=True).state_dict
    expected = theirs.state_dict()
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[key], expected[key]) for key in back)


@pytest.mark.parametrize("mlp_bias", [True, False])
def test_mmyolo_gets_the_norm_folded_into_its_convolution(mlp_bias: bool) -> None:
    torch.manual_seed(0)
    ours = with_trained_norms(nn.Sequential(CBAM(32, mlp_bias=mlp_bias)))
    state = convert_checkpoint(ours.state_dict(), "cbam-mmyolo", reverse=True).state_dict
    theirs = nn.Sequential(MMYoloCBAM(32))
    theirs.load_state_dict(state, strict=True)
    x = torch.randn(2, 32, 5, 7)
    torch.testing.assert_close(theirs(x), ours(x))


def test_other_layouts_are_named(official: nn.Module) -> None:
    state = file(official)["state_dict"]
    with pytest.raises(CheckpointError, match=r"not of this layout: layer1\.0\.bam\.weight"):
        convert_checkpoint({**state, "module.layer1.0.bam.weight": torch.zeros(1)})
    plain = {key: value for key, value in state.items() if "cbam" not in key}
    with pytest.raises(CheckpointError, match=r"'cbam-official' does not recognise.*conv1\.weight"):
        convert_checkpoint(plain, "cbam-official")
    for name in ("cbam-timm", "cbam-mmyolo"):
        with pytest.raises(CheckpointError, match=r"no CBAM found.*begin with conv1\.weight"):
            convert_checkpoint(plain, name, reverse=True)
    pruned = {**state, "module.layer2.1.conv2.weight": torch.zeros(100, 128, 3, 3)}
    with pytest.raises(CheckpointError, match=r"layer2\.1\.conv2\.weight has shape \(100, 128"):
        convert_checkpoint(pruned)
