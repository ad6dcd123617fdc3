"""Promise: a converter's note names a network that takes the weights, or none is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnext50_32x4d

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io import load_state_dict
from mmattn.io.convert import convert_checkpoint
from mmattn.io.torchvision_resnet import torchvision_resnet_config
from tests.support.official_networks import network_of_note, official_resnet


def block(name: str, channels: int) -> nn.Module:
    """The least that makes a network one of CBAM's, ECA's or triplet attention's authors."""
    module = nn.Module()
    names = {
        "cbam": {"ChannelGate.mlp.1": nn.Linear(channels, channels // 16)},
        "eca": {"conv": nn.Conv1d(1, 1, 3, bias=False)},
        "triplet_attention": {
            f"ChannelGate{side}.spatial.conv": nn.Conv2d(2, 1, 7, bias=False) for side in "HW"
        },
    }
    for path, layer in names[name].items():
        inner = module
        *parents, last = path.split(".")
        for parent in parents:
            inner.add_module(parent, getattr(inner, parent, None) or nn.Module())
            inner = getattr(inner, parent)
        inner.add_module(last, layer)
    return module


def network(name: str) -> dict[str, Tensor]:
    with torch.device("meta"):
        if name == "plain":
            return resnet18().state_dict()
        if name == "resnext":
            return resnext50_32x4d().state_dict()
        return official_resnet(18, name, lambda _, channels: block(name, channels)).state_dict()


NETWORKS = ["plain", "resnext", "cbam", "eca", "triplet_attention"]


@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("name", NETWORKS)
def test_another_stem_is_refused(name: str, side: int) -> None:
    """Networks for CIFAR have one of 3 x 3, which no ResNet of mmdet and mmseg has."""
    state = network(name)
    state["conv1.weight"] = torch.zeros(64, 3, side, side)
    with pytest.raises(
        CheckpointError, match=rf"conv1\.weight has a kernel of {side} x {side}"
    ) as e:
        convert_checkpoint(state)
    assert ("CIFAR" in str(e.value)) == (side == 3)


@pytest.mark.parametrize("name", ["cbam", "eca", "triplet_attention"])
@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels_are_in_the_note(name: str, channels: int) -> None:
    state = network(name)
    state["conv1.weight"] = torch.zeros(64, channels, 7, 7)
    conversion = convert_checkpoint(state)
    assert f"in_channels={channels}" in conversion.note
    ours = network_of_note(conversion.note, "mmdet")
    assert not load_state_dict(ours, {"conv1.weight": state["conv1.weight"]}).mismatched


def test_images_of_other_channels_are_in_torchvisions_config() -> None:
    for name in ("plain", "resnext"):
        state = network(name)
        assert "channels" not in torchvision_resnet_config(state)
        state["conv1.weight"] = torch.zeros(64, 5, 7, 7)
        assert torchvision_resnet_config(state).endswith(", in_channels=5)")


def test_a_missing_stem_is_named() -> None:
    state = network("eca")
    del state["conv1.weight"]
    with pytest.raises(CheckpointError, match=r"conv1\.weight is missing|no converter|recognise"):
        convert_checkpoint(state, "eca-official")
