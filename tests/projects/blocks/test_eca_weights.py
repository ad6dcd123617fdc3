"""Promise: weights of the authors and of timm load with no key left over, and mean the same.

The authors' networks are rebuilt here from their descriptions, names included.
"""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io import load_state_dict
from mmattn.io.convert import convert_checkpoint
from tests.support.official_networks import (
    assert_same_maps,
    network_of_note,
    official_resnet,
    stage_maps,
    with_trained_norms,
)

# The published networks' kernels, one for each stage.
PUBLISHED = {18: (3, 5, 7, 7), 34: (3, 3, 5, 7), 50: (3, 5, 5, 7), 101: (3, 3, 5, 7)}


class OfficialECA(nn.Module):
    def __init__(self, k: int):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, k, padding=(k - 1) // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * y.sigmoid().expand_as(x)


def eca_resnet(depth: int) -> nn.Module:
    kernels = PUBLISHED[depth]
    return with_trained_norms(
        official_resnet(depth, "eca", lambda stage, _: OfficialECA(kernels[stage]))
    )


def official_mobilenet() -> nn.Module:
    """Each block ends in ECA: of one tap below 96 channels, else of three."""
    net = mobilenet_v2(weights=None)
    for block in list(net.features)[1:18]:
        channels = block.conv[-1].num_features
        block.conv.append(OfficialECA(1 if channels < 96 else 3))
    return with_trained_norms(net)


def file(net: nn.Module) -> dict:
    """As the authors' training script writes it."""
    weights = {f"module.{key}": value for key, value in net.state_dict().items()}
    return {"epoch": 100, "arch": "eca_resnet", "state_dict": weights, "best_prec1": 77.42}


def check_way_back(state: dict, converted: dict, left_out: tuple[str, ...], name: str) -> None:
    """The way back gives every weight that was read, under its name."""
    back = convert_checkpoint(converted, name, reverse=True).state_dict
    assert back.keys() == {key for key in state if key not in left_out}
    assert all(torch.equal(back[key], state[key]) for key in back)


@pytest.mark.parametrize(("depth", "scope"), [(18, "mmdet"), (50, "mmdet"), (50, "mmseg")])
def test_official_resnet_is_the_same_network(depth: int, scope: str) -> None:
    theirs = eca_resnet(depth)
    conversion = convert_checkpoint(file(theirs))
    assert conversion.converter == "eca-official"
    assert conversion.left_out == ("fc.weight", "fc.bias")
    assert f"Kernel sizes per stage: {', '.join(map(str, PUBLISHED[depth]))}" in conversion.note
    ours = network_of_note(conversion.note, scope)
    assert load_state_dict(ours, conversion.state_dict, strict=True).complete
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert_same_maps(ours(x), stage_maps(theirs, x))
    state = theirs.state_dict()
    check_way_back(state, conversion.state_dict, conversion.left_out, "eca-official")


@pytest.mark.parametrize("target", ["mmseg", "mmdet"])
def test_official_mobilenet_is_the_same_network(target: str) -> None:
    theirs = official_mobilenet()
    name = f"eca-official-mobilenetv2-{target}"
    with pytest.raises(CheckpointError, match=r"several.*mobilenetv2-mmdet, .*mobilenetv2-mmseg;"):
        convert_checkpoint(file(theirs))
    conversion = convert_checkpoint(file(theirs), name)
    ours = network_of_note(conversion.note)
    assert load_state_dict(ours, conversion.state_dict, strict=True).complete
    attention = [m for key, m in ours.plugins.items() if "eca" in key]
    assert sorted(m.kernel_size for m in attention) == 10 * [1] + 7 * [3]
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps, y = [], x
        for layer in theirs.features:
            y = layer(y)
            maps.append(y)
        # The last of torchvision's blocks in each of the layers that are returned.
        ends = [(1, 3, 6, 10, 13, 16, 17, 18)[index] for index in ours.out_indices]
        assert_same_maps(ours(x), [maps[end] for end in ends])
    state = theirs.state_dict()
    check_way_back(state, conversion.state_dict, conversion.left_out, name)


@pytest.mark.parametrize("model", ["ecaresnet50d", "ecaresnet101d"])
def test_timms_ecaresnet_is_the_same_network(model: str) -> None:
    theirs = with_trained_norms(timm.create_model(model))
    conversion = convert_checkpoint(theirs.state_dict())
    assert conversion.converter == "eca-timm-ecaresnet"
    assert "Kernel sizes per stage: 5, 5, 5, 7" in conversion.note
    assert "deep_stem=True, avg_down=True" in conversion.note
    ours = network_of_note(conversion.note, "mmdet")
    assert load_state_dict(ours, conversion.state_dict, strict=True).complete
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        assert_same_maps(ours(x), stage_maps(theirs, x))
    state = theirs.state_dict()
    check_way_back(state, conversion.state_dict, conversion.left_out, "eca-timm-ecaresnet")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ecaresnet26t", "a ResNet of 2, 2, 2, 2 bottlenecks, which is none"),
        ("ecaresnetlight", "a ResNet of 1, 1, 11, 3 bottlenecks, which is none"),
        ("ecaresnet269d", "a ResNet of 3, 30, 48, 8 bottlenecks, which is none"),
        ("ecaresnet50t", r"a stem of 24, 32, 64 channels"),
    ],
)
def test_timms_networks_that_mm_lacks_are_named(model: str, message: str) -> None:
    with torch.device("meta"):
        state = timm.create_model(model).state_dict()
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(state)


def test_other_layouts_are_named() -> None:
    with torch.device("meta"):
        state = eca_resnet(50).state_dict()

    def with_weight(key: str, *shape: int) -> dict:
        return {**state, key: torch.zeros(shape)}

    for wrong, message in (
        (with_weight("layer1.0.eca.conv.weight", 1, 1, 4), r"has shape \(1, 1, 4\); ECA's is"),
        (with_weight("layer1.0.eca.conv.weight", 256, 1, 3), r"has shape \(256, 1, 3\); ECA's is"),
        (
            with_weight("layer2.1.eca.conv.weight", 1, 1, 7),
            r"blocks of layer2 have kernels of sizes \[5, 7\]",
        ),
        (with_weight("layer1.0.se.fc.weight", 1), r"not of this layout: layer1\.0\.se\.fc"),
        (
            with_weight("bbox_head.fc_cls.weight", 81, 1024),
            r"not of this layout: bbox_head\.fc_cls",
        ),
    ):
        with pytest.raises(CheckpointError, match=message):
            convert_checkpoint(wrong)
    plain = {key: value for key, value in state.items() if "eca" not in key}
    with pytest.raises(CheckpointError, match="'eca-official' does not recognise this layout"):
        convert_checkpoint(plain, "eca-official")
    for name in ("eca-official", "eca-timm-ecaresnet", "eca-official-mobilenetv2-mmseg"):
        with pytest.raises(CheckpointError, match=r"no ECA found.*begin with conv1\.weight"):
            convert_checkpoint(plain, name, reverse=True)


def test_attention_elsewhere_in_a_mobilenet_is_an_error() -> None:
    with torch.device("meta"):
        state = official_mobilenet().state_dict()
    state["features.5.conv.3.conv.weight"] = torch.zeros(1, 1, 1)
    with pytest.raises(CheckpointError, match=r"not of this layout: features\.5\.conv\.3\.conv"):
        convert_checkpoint(state, "eca-official-mobilenetv2-mmseg")
