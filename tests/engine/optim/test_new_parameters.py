"""Promise: parameters of inserted blocks have their own rate and warm-up, also after a resume."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmengine.optim import LinearLR, build_optim_wrapper
from torch import Tensor, nn

from mmattn.errors import ConfigError
from mmattn.registry import MODELS


class Gate(nn.Module):
    """A block with one weight."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Net(nn.Module):
    """A network of two layers, the input of a ``WithPlugins``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 1)
        self.head = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.first(x))


def network(frozen: bool = False) -> nn.Module:
    torch.manual_seed(0)
    block = {"cfg": {"type": Gate, "init": "identity"}, "at": "first", "frozen": frozen}
    return MODELS.build({"type": "mmattn.WithPlugins", "inner": Net(), "plugins": [block]})


def build(model: nn.Module, new: Any, optimizer: dict | None = None, **paramwise: Any):
    return build_optim_wrapper(
        model,
        {
            "constructor": "mmattn.NewParametersOptimWrapperConstructor",
            "optimizer": optimizer or {"type": "SGD", "lr": 0.1, "weight_decay": 0.5},
            "paramwise_cfg": {"new_parameters": new, **paramwise},
        },
    )


def rates(model: nn.Module, wrapper) -> dict[str, tuple[float, float]]:
    """Name of each parameter -> its learning rate and weight decay."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
        for p in group["params"]
    }


NEW = {"plugins.first_gate.weight", "plugins.first_gate.residual_scale"}


@pytest.mark.parametrize("paramwise", [{}, {"bias_lr_mult": 3.0}], ids=["one_group", "many"])
def test_rate_and_decay(paramwise: dict) -> None:
    model = network()
    found = rates(model, build(model, {"lr_mult": 10, "decay_mult": 0}, **paramwise))
    assert found.keys() == dict(model.named_parameters()).keys(), "each parameter once"
    assert {name for name, rate in found.items() if rate == (1.0, 0.0)} == NEW
    assert found["first.weight"] == (0.1, 0.5)
    assert found["first.bias"][0] == pytest.approx(0.3 if paramwise else 0.1)


def test_other_names_may_be_new_and_other_constructors_divided() -> None:
    model = network()
    grouped = "mmattn.GroupedOptimWrapperConstructor"
    wrapper = build(model, {"lr_mult": 2, "keys": ["head."], "constructor": grouped})
    found = rates(model, wrapper)
    assert {n for n, rate in found.items() if rate[0] == 0.2} == {*NEW, "head.weight", "head.bias"}
    assert found["head.bias"] == (0.2, 0.0), "biases have no decay there"


def steps(model: nn.Module, wrapper, count: int, scheduler=None) -> list[float]:
    """Take steps with a gradient of one; return by how much the block's weight fell in each."""
    weight = model.get_parameter("plugins.first_gate.weight")
    fell = []
    for _ in range(count):
        before = weight.item()
        weight.grad = torch.ones_like(weight)
        wrapper.step()
        fell.append(before - weight.item())
        if scheduler is not None:
            scheduler.step()
    return fell


PLAIN = {"type": "SGD", "lr": 0.1, "weight_decay": 0.0}


def test_the_warm_up_is_linear_and_ends() -> None:
    model = network()
    wrapper = build(model, {"lr_mult": 4, "warmup_iters": 4}, PLAIN)
    fell = steps(model, wrapper, 6)
    assert fell == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4], abs=1e-6)
    assert rates(model, wrapper)["plugins.first_gate.weight"][0] == pytest.approx(0.4)


def test_a_schedule_is_multiplied_and_not_disturbed() -> None:
    model = network()
    wrapper = build(model, {"lr_mult": 2, "warmup_iters": 2}, PLAIN)
    scheduler = LinearLR(wrapper, start_factor=1.0, end_factor=0.5, end=5, by_epoch=False)
    fell = steps(model, wrapper, 5, scheduler)
    assert fell == pytest.approx([0.1, 0.175, 0.15, 0.125, 0.1], abs=1e-6)


def test_a_resumed_run_goes_on_in_the_warm_up() -> None:
    settings = {"lr_mult": 4, "warmup_iters": 4}
    model = network()
    wrapper = build(model, settings, PLAIN)
    whole = steps(model, wrapper, 5)
    model = network()
    wrapper = build(model, settings, PLAIN)
    first = steps(model, wrapper, 2)
    state = copy.deepcopy((model.state_dict(), wrapper.state_dict()))
    model = network()
    wrapper = build(model, settings, PLAIN)
    model.load_state_dict(state[0])
    wrapper.load_state_dict(state[1])
    assert [*first, *steps(model, wrapper, 3)] == pytest.approx(whole, abs=1e-6)


MISTAKES = [
    (None, "must be a dictionary"),
    ({"lr_mul": 1}, "has no 'lr_mul'. Did you mean 'lr_mult'"),
    ({"warmup_iters": -1}, "warmup_iters must be a number of at least 0"),
    ({"warmup_iters": float("inf")}, "warmup_iters must be a number of at least 0, got inf"),
    ({"keys": ["nothing"]}, "'nothing' is in the name of no parameter"),
]


@pytest.mark.parametrize(("settings", "message"), MISTAKES)
def test_mistakes_are_named(settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(network(), settings)


def test_a_network_without_trainable_blocks_is_refused() -> None:
    for model in (Net(), network(frozen=True)):
        with pytest.raises(ConfigError, match="no inserted block"):
            build(model, {"lr_mult": 2})
