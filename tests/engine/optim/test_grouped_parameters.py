"""Every parameter is in one of three groups, and only weights decay."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmattn.errors import ConfigError


class Net(nn.Module):
    """One parameter of every sort; ``head`` shares the weight of ``linear``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2)
        self.layer_norm = nn.LayerNorm(2)
        self.gamma = nn.Parameter(torch.ones(2))
        self.linear = nn.Linear(2, 2)
        self.head = nn.Linear(2, 2)
        self.head.weight = self.linear.weight
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def build(model: nn.Module, **options):
    wrapper = {
        "constructor": "mmattn.GroupedOptimWrapperConstructor",
        "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.5},
        **options,
    }
    return build_optim_wrapper(model, wrapper)


def test_the_groups_and_their_decay() -> None:
    model = Net()
    wrapper = build(model, clip_grad={"max_norm": 10.0}, accumulative_counts=2)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        group["name"]: ({names[id(p)] for p in group["params"]}, group["weight_decay"])
        for group in wrapper.optimizer.param_groups
    }
    assert found == {
        "weight": ({"gamma", "conv.weight", "linear.weight"}, 0.5),
        "norm": ({"norm.weight", "layer_norm.weight"}, 0.0),
        "bias": (
            {"conv.bias", "norm.bias", "layer_norm.bias", "linear.bias", "head.bias"},
            0.0,
        ),
    }
    assert wrapper.clip_grad_kwargs == {"max_norm": 10.0}
    assert wrapper._accumulative_counts == 2


def test_a_group_without_parameters_is_left_out() -> None:
    groups = build(nn.Linear(2, 2, bias=False)).optimizer.param_groups
    assert [group["name"] for group in groups] == ["weight"]


def test_a_rule_of_ones_own_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"norm_decay_mult.*takes none"):
        build(Net(), paramwise_cfg={"norm_decay_mult": 0.0})


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(ConfigError, match="nothing to train"):
        build(nn.Linear(1, 1).requires_grad_(False))
