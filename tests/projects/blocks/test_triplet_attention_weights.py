"""Promise: weights of the networks that the authors train load with no key left over.

Their networks are rebuilt here from their descriptions, names included.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io import load_state_dict
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.triplet_attention import TripletAttention
from tests.support.official_networks import (
    assert_same_maps,
    network_of_note,
    official_resnet,
    stage_maps,
    with_trained_norms,
)

NAME = "triplet-attention-official"


class Spatial(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)


class Gate(nn.Module):
    """Scale a rotated feature map by the gate over its last two dimensions."""

    def __init__(self):
        super().__init__()
        self.spatial = Spatial()

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.stack([x.max(1)[0], x.mean(1)], 1)
        return x * self.spatial.bn(self.spatial.conv(pooled)).sigmoid()


class OfficialTriplet(nn.Module):
    def __init__(self, spatial: bool = True):
        super().__init__()
        self.ChannelGateH, self.ChannelGateW = Gate(), Gate()
        self.SpatialGate = Gate() if spatial else None

    def forward(self, x: Tensor) -> Tensor:
        gated = [
            self.ChannelGateH(x.permute(0, 2, 1, 3)).permute(0, 2, 1, 3),
            self.ChannelGateW(x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1),
            *([self.SpatialGate(x)] if self.SpatialGate else []),
        ]
        return sum(gated) / len(gated)


def triplet_resnet(depth: int, spatial: bool = True) -> nn.Module:
    return with_trained_norms(
        official_resnet(depth, "triplet_attention", lambda *_: OfficialTriplet(spatial))
    )


def triplet_mobilenet() -> nn.Module:
    net = mobilenet_v2(weights=None)
    for block in list(net.features)[1:18]:
        block.conv.append(OfficialTriplet())
    return with_trained_norms(net)


def file(net: nn.Module) -> dict:
    """As the authors' training script writes it."""
    weights = {f"module.{key}": value for key, value in net.state_dict().items()}
    return {"epoch": 100, "arch": "resnet", "state_dict": weights, "best_prec1": 77.5}


def check_way_back(state: dict, converted: dict, left_out: tuple[str, ...], name: str) -> None:
    back = convert_checkpoint(converted, name, reverse=True).state_dict
    assert back.keys() == {key for key in state if key not in left_out}
    assert all(torch.equal(back[key], state[key]) for key in back)


@pytest.mark.parametrize(
    ("depth", "scope", "spatial"),
    [(18, "mmdet", True), (50, "mmseg", True), (18, "mmseg", False)],
)
def test_official_resnet_is_the_same_network(depth: int, scope: str, spatial: bool) -> None:
    theirs = triplet_resnet(depth, spatial)
    conversion = convert_checkpoint(file(theirs))
    assert conversion.converter == NAME
    assert conversion.left_out == ("fc.weight", "fc.bias")
    ours = network_of_note(conversion.note, scope)
    assert load_state_dict(ours, conversion.state_dict, strict=True).complete
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert_same_maps(ours(x), stage_maps(theirs, x))
    check_way_back(theirs.state_dict(), conversion.state_dict, conversion.left_out, NAME)


@pytest.mark.parametrize("target", ["mmseg", "mmdet"])
def test_official_mobilenet_is_the_same_network(target: str) -> None:
    theirs = triplet_mobilenet()
    name = f"{NAME}-mobilenetv2-{target}"
    with pytest.raises(CheckpointError, match=r"several.*mobilenetv2-mmdet, .*mobilenetv2-mmseg;"):
        convert_checkpoint(file(theirs))
    conversion = convert_checkpoint(file(theirs), name)
    ours = network_of_note(conversion.note)
    assert load_state_dict(ours, conversion.state_dict, strict=True).complete
    assert len([m for m in ours.modules() if isinstance(m, TripletAttention)]) == 17
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps, y = [], x
        for layer in theirs.features:
            y = layer(y)
            maps.append(y)
        ends = [(1, 3, 6, 10, 13, 16, 17, 18)[index] for index in ours.out_indices]
        assert_same_maps(ours(x), [maps[end] for end in ends])
    check_way_back(theirs.state_dict(), conversion.state_dict, conversion.left_out, name)


def test_a_block_alone_is_the_same_block() -> None:
    theirs = with_trained_norms(OfficialTriplet())
    conversion = convert_checkpoint(theirs.state_dict())
    assert conversion.note == "Matching block: dict(type='mmattn.TripletAttention')"
    ours = TripletAttention(8).eval()
    assert load_state_dict(ours, conversion.state_dict, strict=True).complete
    x = torch.randn(2, 8, 6, 9)
    torch.testing.assert_close(ours(x), theirs(x))
    check_way_back(theirs.state_dict(), conversion.state_dict, (), NAME)


def test_other_layouts_are_named() -> None:
    with torch.device("meta"):
        state = triplet_resnet(18).state_dict()
    gate = "neck.triplet_attention.SpatialGate.spatial.conv.weight"
    for key in (gate, "layer1.0.triplet_attention.SpatialGate.spatial.relu.weight", "bam1.weight"):
        with pytest.raises(CheckpointError, match=f"not of this layout: {key}"):
            convert_checkpoint({**state, key: torch.zeros(1, 2, 7, 7)})
    with pytest.raises(CheckpointError, match=r"kernels of sizes \[3, 7\]"):
        wrong = "layer1.0.triplet_attention.SpatialGate.spatial.conv.weight"
        convert_checkpoint({**state, wrong: torch.zeros(1, 2, 3, 3)})
    plain = {key: value for key, value in state.items() if "triplet" not in key}
    with pytest.raises(CheckpointError, match="no triplet attention found"):
        convert_checkpoint(plain, NAME, reverse=True)
