"""Promise: the weights of a pickled network are those of its state dict, and reading them ends."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from mmattn.errors import CheckpointError
from mmattn.io import read_checkpoint
from mmattn.io.convert import weights_of
from mmattn.io.inert_modules import ModuleWeights


class Net(nn.Module):
    """Modules, parameters and buffers of every kind, some of them None."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            OrderedDict(conv=nn.Conv2d(3, 4, 1, bias=False), bn=nn.BatchNorm2d(4))
        )
        self.scale = nn.Parameter(torch.rand(4).half())
        self.register_parameter("shift", None)
        self.register_buffer("kept", torch.arange(3))
        self.register_buffer("scratch", torch.ones(3), persistent=False)
        self.register_module("nothing", None)
        self.body2 = self.body  # one module under two names
        self.names = ["a", "b"]
        self.depth = 3
        self.spare = {"tensor": torch.ones(2)}


def read(tmp_path: Path, content: object, *, modules: bool = True) -> dict:
    torch.save(content, tmp_path / "x.pt")
    return read_checkpoint(tmp_path / "x.pt", modules=modules)


@pytest.mark.parametrize("alone", [True, False])
def test_weights_are_those_of_the_state_dict(tmp_path: Path, alone: bool) -> None:
    torch.manual_seed(0)
    net = Net()
    content = read(tmp_path, net if alone else {"model": net, "epoch": 3})
    weights = content if alone else content["model"]
    assert isinstance(weights, ModuleWeights)
    assert weights.class_name.endswith("test_inert_modules.Net")
    expected = net.state_dict()
    assert list(weights) == list(expected)
    for key, value in expected.items():
        assert torch.equal(weights[key], value)
        assert weights[key].dtype == value.dtype
    assert weights_of(content).keys() == expected.keys()


def test_data_of_the_network_is_kept_and_objects_are_told(tmp_path: Path, caplog) -> None:
    net = Net()
    net.hook = logging.StreamHandler  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        weights = read(tmp_path, {"model": net})["model"]
    assert weights.attributes["names"] == ["a", "b"]
    assert weights.attributes["depth"] == 3
    assert torch.equal(weights.attributes["spare"]["tensor"], torch.ones(2))
    assert "hook" not in weights.attributes
    assert "model.hook (logging.StreamHandler)" in caplog.text


def test_running_mean_comes_before_the_network_that_is_trained() -> None:
    networks = {name: ModuleWeights("Net") for name in ("model", "ema")}
    for number, weights in enumerate(networks.values()):
        weights["w"] = torch.tensor(number)
    assert weights_of(networks)["w"] == 1
    assert weights_of({**networks, "ema": None})["w"] == 0


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_without_the_option_a_network_is_refused_with_the_way(tmp_path: Path, key: str) -> None:
    message = rf"{key} is an object of.*Net.*without running anything: mmattn convert"
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, {key: Net()}, modules=False)


def test_a_network_inside_itself_or_too_large_ends(tmp_path: Path) -> None:
    ring = nn.Sequential(nn.Linear(1, 1))
    ring._modules["again"] = ring
    deep = nn.Sequential(nn.Linear(1, 1))
    for _ in range(40):  # 2^40 modules by name
        deep = nn.Sequential(deep, deep)
    for network, message in ((ring, "is inside itself"), (deep, "more than 100000 modules")):
        with pytest.raises(CheckpointError, match=message):
            read(tmp_path, {"model": network})


@pytest.mark.parametrize("part", ["_parameters", "_buffers", "_modules"])
def test_what_is_no_tensor_or_module_is_refused(tmp_path: Path, part: str) -> None:
    net = Net()
    getattr(net, part)["odd"] = "text"
    with pytest.raises(CheckpointError, match=r"odd.* is in a (tensor|module)'s place and none"):
        read(tmp_path, {"model": net})
