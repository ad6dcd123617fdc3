"""Promises of ``init='identity'``: a fresh block changes nothing, and learns from there."""

from __future__ import annotations

import copy
import io
import logging
from typing import Any

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import Runner
from torch import Tensor, nn

from mmattn.engine.resume import require_same_model
from mmattn.errors import CheckpointError, ConfigError
from mmattn.io.load_into_model import load_into
from mmattn.plugins.blocks import build_block
from mmattn.registry import MODELS
from tests.support.toy_training import ToyModel, toy_runner


class Halve(nn.Module):
    """A block that is nothing like the identity."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((in_channels, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class ZeroResidual(nn.Module):
    """A block that starts as the identity, and says so to a network that initialises it."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, in_channels, 1)
        self.init_weights()

    def init_weights(self) -> None:
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Undone(ZeroResidual):
    """The same, whose initial state is lost in a network that initialises it."""

    init_weights = None

    def __init__(self, in_channels: int):
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(in_channels, in_channels, 1)
        ZeroResidual.init_weights(self)


class Taken(Halve):
    """A block that has the name of the scale."""

    def __init__(self, in_channels: int):
        super().__init__(in_channels)
        self.residual_scale = 2


def build(block: type[nn.Module] = Halve, channels: int = 4, **cfg: Any) -> nn.Module:
    return build_block({"type": block, "init": "identity", **cfg}, channels, place="here")[1]


def resnet(*plugins: dict, slot: bool = False, **kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    inner = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 4, "stem_channels": 4, **kwargs}
    if slot:
        return MODELS.build({**inner, "plugins": list(plugins)})
    return MODELS.build({"type": "mmattn.WithPlugins", "inner": inner, "plugins": list(plugins)})


def x(*shape: int) -> Tensor:
    return torch.randn(shape or (2, 4, 5, 7), generator=torch.Generator().manual_seed(1))


def test_the_form_is_a_residual_with_a_scale_per_channel() -> None:
    block = build()
    assert block.state_dict().keys() == {"weight", "residual_scale"}
    assert block.residual_scale.tolist() == [0] * 4
    assert torch.equal(block(x()), x())
    block.residual_scale.data = torch.tensor([0.0, 0.5, 1.0, 2.0])
    factors = torch.tensor([1.0, 0.75, 0.5, 0.0])  # 1 + s (1 / 2 - 1)
    torch.testing.assert_close(block(x()), x() * factors[:, None, None])


def test_scale_one_is_the_plain_form_bit_for_bit() -> None:
    class Odd(Halve):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 1e6).sin() * 3e-4

    block = build(Odd)
    block.residual_scale.data.fill_(1)
    assert torch.equal(block(x()), (x() * 1e6).sin() * 3e-4)


def test_the_scale_has_a_gradient_first() -> None:
    block = build()
    block(x()).square().sum().backward()
    assert block.residual_scale.grad.all() and not block.weight.grad.any()
    block.residual_scale.data.fill_(0.1)
    block(x()).square().sum().backward()
    assert block.weight.grad.all()


def test_a_block_that_starts_as_the_identity_is_left_as_it_is() -> None:
    """Two factors of zero would never learn."""
    block = build(ZeroResidual)
    assert block.state_dict().keys() == {"conv.weight", "conv.bias"}
    block(x()).square().sum().backward()
    assert block.conv.weight.grad.any()


MISTAKES = [
    ({"block": Undone}, r"Undone\(\), init='identity': it starts as the identity, but not after a"),
    ({"block": Taken}, "has an attribute 'residual_scale' of its own"),
    ({"init": "identty"}, r"here: init must be 'plain' or 'identity', .*Did you mean 'identity'"),
    ({"init": None}, "init must be"),
]


@pytest.mark.parametrize(("cfg", "message"), MISTAKES)
def test_mistakes_are_named(cfg: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**cfg)


@torch.no_grad()
def test_building_changes_no_random_number_that_follows() -> None:
    states = []
    for init in ("plain", "identity"):
        torch.manual_seed(3)
        build(ZeroResidual, init=init)
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_copies_pickles_and_averages_have_scales_of_their_own() -> None:
    block = nn.Sequential(build())
    block[0].residual_scale.data.fill_(1)
    twin = copy.deepcopy(block)
    twin[0].residual_scale.data.zero_()
    assert torch.equal(block(x()), x() / 2)
    assert torch.equal(twin(x()), x())
    file = io.BytesIO()
    torch.save(block, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x()), x() / 2)
    average = ExponentialMovingAverage(twin, momentum=0.5)
    average.update_parameters(twin)
    average.update_parameters(block)
    assert average.module[0].residual_scale.tolist() == [0.5] * 4
    torch.testing.assert_close(average(x()), x() * 0.75)
    # A copy loads the plain form into itself.
    plain = {"0.weight": torch.full((4, 1, 1), 0.5)}
    twin.load_state_dict(plain)
    assert twin[0].residual_scale.tolist() == [1] * 4


def test_frozen_and_checkpointed_blocks_keep_their_form() -> None:
    network = resnet(
        {"cfg": {"type": Halve, "init": "identity"}, "at": "layer1", "frozen": True},
        with_cp=True,
    )
    network.train()
    image = x(1, 3, 32, 32).requires_grad_()
    block = network.plugins["layer1_halve"]
    block.residual_scale.data.fill_(1)
    network(image)[0].sum().backward()
    assert not block.residual_scale.requires_grad and block.residual_scale.grad is None
    assert image.grad.any()


@pytest.mark.parametrize("slot", [False, True], ids=["with_plugins", "slot"])
def test_the_report_counts_host_and_blocks_apart(slot: bool) -> None:
    place = {"position": "after_conv2"} if slot else {"at": "layer*.*.bn2"}
    plain = resnet().state_dict()
    identity = resnet({"cfg": {"type": Halve, "init": "identity"}, **place}, slot=slot)
    report = load_into(identity, plain)
    assert str(report).startswith("host 100 of 100, new 16 (initialised as the identity): ")
    assert len(report.newly_added) == len(report.identity) == 16
    plugged = resnet({"cfg": {"type": Halve}, **place}, slot=slot)
    report = load_into(plugged, plain)
    assert str(report).startswith("host 100 of 100, new 8 (with their initial values): ")
    # Weights of the plain form: nothing is missing, and the report says what they became.
    report = load_into(identity, plugged.state_dict())
    assert report.complete
    names = "layer1.* (2), layer2.* (2), " if slot else "plugins.* (8)"
    assert str(report).startswith(
        f"matched 116/116 weights; weights of the plain form, with residual_scale = 1: {names}"
    )
    identity.eval(), plugged.eval()
    for a, b in zip(identity(x(1, 3, 33, 47)), plugged(x(1, 3, 33, 47)), strict=True):
        assert torch.equal(a, b)
    # Its own weights load as any: no line about forms.
    assert str(load_into(identity, identity.state_dict())) == "matched 116/116 weights"
    # And a mixture is counted.
    mixed = resnet(
        {"cfg": {"type": Halve, "init": "identity"}, "at": "layer1"},
        {"cfg": {"type": Halve}, "at": "layer2"},
    )
    assert "new 3 (2 initialised as the identity, 1 with initial values)" in str(
        load_into(mixed, plain)
    )


def test_mmengine_logs_the_line_and_warns_only_of_blocks_that_act(tmp_path, monkeypatch) -> None:
    lines: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "mmengine.logging.print_log", lambda text, logger, level: lines.append((text, level))
    )
    torch.save(resnet().state_dict(), tmp_path / "resnet.pth")
    init = {"type": "Pretrained", "checkpoint": str(tmp_path / "resnet.pth")}
    levels = {}
    for form in ("identity", "plain"):
        block = {"cfg": {"type": Halve, "init": form}, "position": "after_conv2"}
        network = resnet(block, slot=True, init_cfg=init)
        network.init_weights()
        text, levels[form] = lines.pop()
        assert text.startswith("Weights: host 100 of 100, new ")
    assert levels == {"identity": logging.INFO, "plain": logging.WARNING}


def test_a_training_of_the_plain_form_is_not_resumed_in_this_one(tmp_path) -> None:
    """Its optimizer has no state for the scales; torch would say that sizes of groups differ."""

    def runner(form: str, resume: bool) -> Runner:
        model = ToyModel()
        model.backbone.append(build_block({"type": Halve, "init": form}, 4, place="here")[1])
        runner = toy_runner(tmp_path, model=model, resume=resume)
        require_same_model(runner)
        return runner

    runner("plain", resume=False).train()
    with pytest.raises(CheckpointError, match=r"cannot be resumed from.*plain form.*backbone\.2"):
        runner("identity", resume=True).train()


@pytest.mark.filterwarnings("ignore")
def test_the_form_is_exported_and_compiled() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = nn.Sequential(nn.Conv2d(4, 4, 1), build(), nn.ReLU()).eval()
    network[1].residual_scale.data.fill_(0.3)
    program = torch.onnx.export(network, (x(),), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    (y,) = session.run(None, {session.get_inputs()[0].name: x().numpy()})
    torch.testing.assert_close(torch.from_numpy(y), network(x()))
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x()), network(x()))
