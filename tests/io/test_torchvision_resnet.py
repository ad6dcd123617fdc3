"""Promise: torchvision's ResNets are the same networks in mmdet and mmseg, or it says why not."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchvision.models
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmattn.errors import CheckpointError
from mmattn.io import load_state_dict
from mmattn.io.convert import convert_checkpoint, find_converter

slow = pytest.mark.slow
PLAIN = {f"resnet{depth}": {"type": "ResNet", "depth": depth} for depth in (18, 34, 50, 101, 152)}
GROUPED = {
    f"resnext{depth}_{groups}x{width}d": {
        "type": "ResNeXt",
        "depth": depth,
        "groups": groups,
        "base_width": width,
    }
    for depth, groups, width in ((50, 32, 4), (101, 32, 8), (101, 64, 4))
}
QUICK = ("resnet18", "resnet50", "resnext50_32x4d")
NETWORKS = [
    pytest.param(name, config, id=name, marks=() if name in QUICK else slow)
    for name, config in (PLAIN | GROUPED).items()
]


def torchvisions(name: str) -> nn.Module:
    """torchvision's network with random weights and statistics."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.5)
    return network


def maps_of(network: nn.Module, x: Tensor) -> list[Tensor]:
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    maps = []
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = layer(x)
        maps.append(x)
    return maps


@pytest.mark.parametrize(("name", "config"), NETWORKS)
@torch.no_grad()
def test_the_network_is_the_same_in_both_libraries(name: str, config: dict) -> None:
    theirs = torchvisions(name)
    state = theirs.state_dict()
    conversion = convert_checkpoint(state)
    assert conversion.converter == "torchvision-resnet"
    assert conversion.left_out == ("fc.weight", "fc.bias")
    written = ", ".join(f"{key}={value!r}" for key, value in config.items())
    assert f"backbone=dict({written})" in conversion.note
    x = torch.randn(1, 3, 64, 64)
    for library in ("mmdet", "mmseg"):
        ours = MODELS.build(config | {"type": f"{library}.{config['type']}"})
        assert load_state_dict(ours, conversion.state_dict, strict=True).complete
        ours.eval()
        for a, b in zip(ours(x), maps_of(theirs, x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    back = convert_checkpoint(ours.state_dict(), "torchvision-resnet", reverse=True).state_dict
    again = torchvision.models.get_model(name, weights=None)
    report = load_state_dict(again, back)
    assert set(report.missing) == {"fc.weight", "fc.bias"} and not report.unexpected
    for key, value in back.items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("name", ["wide_resnet50_2"])
def test_a_wide_network_is_sent_to_timm_which_takes_its_file(name: str, tmp_path) -> None:
    """On the meta device the message; the file itself in the slow test below."""
    with torch.device("meta"):
        state = torchvision.models.get_model(name, weights=None).state_dict()
    assert find_converter(state).name == "torchvision-resnet"
    with pytest.raises(CheckpointError, match=rf"128 wide inside.*model_name='{name}'"):
        convert_checkpoint(state)


@slow
@torch.no_grad()
def test_timms_wide_network_is_torchvisions(tmp_path) -> None:
    theirs = torchvisions("wide_resnet50_2")
    torch.save(theirs.state_dict(), tmp_path / "wide.pth")
    ours = MODELS.build(
        {
            "type": "mmattn.TimmBackbone",
            "model_name": "wide_resnet50_2",
            "out_indices": (1, 2, 3, 4),
            "pretrained": str(tmp_path / "wide.pth"),
        }
    )
    ours.init_weights()
    ours.eval()
    x = torch.randn(1, 3, 64, 64)
    for a, b in zip(ours(x), maps_of(theirs, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_deep_stem_has_no_way_back() -> None:
    from mmseg.models.backbones import ResNetV1c

    with pytest.raises(CheckpointError, match=r"ResNetV1c or V1d.*one of 7x7"):
        convert_checkpoint(ResNetV1c(depth=18).state_dict(), "torchvision-resnet", reverse=True)


def test_networks_with_more_inside_belong_to_others() -> None:
    with torch.device("meta"):
        state = torchvision.models.resnet18(weights=None).state_dict()
    extra = {"layer1.0.eca.conv.weight": torch.zeros(1, 1, 3)}
    assert find_converter(state).name == "torchvision-resnet"
    for other in (state | extra, {k: v for k, v in state.items() if not k.startswith("fc.")}):
        found = find_converter(other)
        assert found is None or found.name != "torchvision-resnet"
    pruned = {key: value for key, value in state.items() if not key.startswith("layer2.1.")}
    with pytest.raises(CheckpointError, match="2, 1, 2, 2 basic blocks"):
        convert_checkpoint(pruned)


@slow
def test_the_tool_says_which_network_takes_the_result(tmp_path, repo) -> None:
    torch.save(torchvisions("resnet18").state_dict(), tmp_path / "r18.pth")
    command = [sys.executable, "tools/convert.py", str(tmp_path / "r18.pth")]
    done = subprocess.run(
        [*command, str(tmp_path / "r18.safetensors")], capture_output=True, text=True, cwd=repo
    )
    assert done.returncode == 0, done.stderr
    assert "backbone=dict(type='ResNet', depth=18), not ResNetV1c" in done.stdout
