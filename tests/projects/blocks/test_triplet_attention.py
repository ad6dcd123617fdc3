"""Promise: triplet attention is the paper's block with the authors' layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmattn.projects.blocks.triplet_attention import TripletAttention
from mmattn.testing.plugin import PluginTester


def by_rotation(module: TripletAttention, x: Tensor) -> Tensor:
    """As the paper draws it: rotate, pool the first dimension, convolve, gate, rotate back."""
    gated = []
    for gate, order in ((module.cw, (0, 2, 1, 3)), (module.hc, (0, 3, 2, 1)), (module.hw, None)):
        if gate is None:
            continue
        rotated = x.permute(order) if order else x
        pooled = torch.stack([rotated.amax(1), rotated.sum(1) / rotated.shape[1]], 1)
        weight, norm = gate.conv.conv.weight, gate.conv.bn
        side = weight.shape[-1]
        windows = torch.nn.functional.unfold(pooled, side, padding=side // 2)
        plane = (weight.flatten() @ windows).unflatten(-1, pooled.shape[2:])
        plane = (plane - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        y = rotated * (plane * norm.weight + norm.bias).sigmoid().unsqueeze(1)
        gated.append(y.permute(order) if order else y)  # both rotations are their own inverses
    return torch.stack(gated).mean(0)


def randomise_norms(module: TripletAttention) -> None:
    """Statistics and affine weights as after training."""
    torch.manual_seed(1)
    for norm in (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        with torch.no_grad():
            for tensor in (norm.weight, norm.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (norm.bias, norm.running_mean):
                tensor.uniform_(-1, 1)


class TestTripletAttention(PluginTester):
    module = TripletAttention
    state_keys = {
        f"{gate}.conv.{part}"
        for gate in ("cw", "hc", "hw")
        for part in (
            "conv.weight",
            *(f"bn.{key}" for key in ("weight", "bias", "running_mean", "running_var")),
            "bn.num_batches_tracked",
        )
    }
    parameters = staticmethod(lambda c: 3 * (2 * 7 * 7 + 2))
    reference = staticmethod(by_rotation)

    def randomize_zero_init(self, module: TripletAttention) -> None:
        randomise_norms(module)


def test_without_the_spatial_gate_two_are_averaged() -> None:
    module = TripletAttention(16, kernel_size=3, spatial=False).double().eval()
    randomise_norms(module)
    assert not any(name.startswith("hw") for name in module.state_dict())
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(module(x), by_rotation(module, x))


@pytest.mark.parametrize("spatial", [False, True])
def test_attention_maps_are_the_gates_that_are_averaged(spatial: bool) -> None:
    module = TripletAttention(16, spatial=spatial).double().eval()
    randomise_norms(module)
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    maps = module.attention_maps(x)
    assert list(maps) == ["cw", "hc", "hw"][: 2 + spatial]
    torch.testing.assert_close(module(x), x * sum(maps.values()) / len(maps))


def test_zero_convolutions_halve_the_input() -> None:
    module, x = TripletAttention(16), torch.randn(2, 16, 5, 7)
    for gate in (module.cw, module.hc, module.hw):
        torch.nn.init.zeros_(gate.conv.conv.weight)
    for training in (False, True):
        torch.testing.assert_close(module.train(training)(x), x / 2)


def test_the_first_pooled_map_is_the_maximum() -> None:
    """Kernels that see the first map alone do not notice a value that only means depend on."""
    module = TripletAttention(4).eval()
    for gate in (module.cw, module.hc, module.hw):
        torch.nn.init.ones_(gate.conv.conv.weight)
        with torch.no_grad():
            gate.conv.conv.weight[:, 1] = 0
    x = torch.rand(1, 4, 5, 7) + 0.1
    x[0, 0, 0, 0] = 0
    lower = x.clone()
    lower[0, 0, 0, 0] = -5
    elsewhere = torch.ones_like(x, dtype=torch.bool)
    elsewhere[0, 0, 0, 0] = False
    assert torch.equal(module(x)[elsewhere], module(lower)[elsewhere])


def test_bad_arguments_are_named() -> None:
    for size in (0, 2):
        with pytest.raises(ValueError, match=r"kernel_size must be (odd|at least 1)"):
            TripletAttention(8, kernel_size=size)
