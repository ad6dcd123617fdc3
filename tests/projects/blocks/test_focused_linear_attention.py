"""Promise: focused linear attention computes its equations, at any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.projects.blocks.focused_linear_attention import FocusedLinearAttention, focused
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester

KEYS = {f"{name}.{part}" for name in ("qkv", "proj", "dwc") for part in ("weight", "bias")}
EPS = 1e-6


def by_weights(module: FocusedLinearAttention, x: Tensor) -> Tensor:
    """The equations with all N x N weights, head by head."""
    n, c, height, width = x.shape
    heads, power = module.num_heads, module.power
    q, k, v = F.linear(x.flatten(2).mT, module.qkv.weight, module.qkv.bias).split(c, 2)
    if module.position_size is not None:
        table = module.positional_encoding.mT.reshape(1, c, *module.position_size)
        k = k + F.interpolate(table, (height, width), mode="bilinear").flatten(2).mT
    divisor = torch.log(1 + module.scale.exp())
    q, k = ((t.clamp(min=0) + EPS) / divisor for t in (q, k))
    parts = []
    for head in torch.arange(c).chunk(heads):
        over = head if module.norm == "head" else torch.arange(c)

        def phi(u: Tensor, over: Tensor = over, head: Tensor = head) -> Tensor:
            squares, raised = (u[..., over] ** 2).sum(-1), (u[..., over] ** (2 * power)).sum(-1)
            return (squares / raised).sqrt()[..., None] * u[..., head] ** power

        weights = phi(q) @ phi(k).mT
        attended = weights @ v[..., head] / (weights.sum(2, keepdim=True) + EPS)
        values = v[..., head].mT.unflatten(2, (height, width))
        side = module.dwc.weight.shape[-1]
        local = F.conv2d(
            values, module.dwc.weight, module.dwc.bias, padding=side // 2, groups=len(head)
        )
        parts.append(attended + local.flatten(2).mT)
    out = F.linear(torch.cat(parts, 2), module.proj.weight, module.proj.bias)
    return out.mT.reshape(n, c, height, width)


def strengthen(module: FocusedLinearAttention) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3, generator=generator)


class TestFocusedLinearAttention(MixerTester):
    module = FocusedLinearAttention
    arguments = {"num_heads": 4, "position_size": (3, 4)}
    state_keys = KEYS | {"scale", "positional_encoding"}
    reference = staticmethod(by_weights)
    # Heads of C / 4 channels; 12 stored positions.
    parameters = staticmethod(lambda c: 4 * c**2 + 4 * c + 26 * (c // 4) + c + 12 * c)
    goldens = {
        "positions": Golden(
            shape=(2, 32, 6, 9),
            values="0.412763702 -0.475354326 0.578643556 -0.505076257 -0.46051639 0.456966799 "
            "-0.344431285 0.0505421754",
            sums=(55.3803751, 1017.06869, 0.340022041),
            input_gradient=(-804.272668, 4199.28406),
            gradients="scale 16.9025425; positional_encoding 567.478465; qkv.weight 116560.416; "
            "qkv.bias 7409.90441; proj.weight 14610.8478; proj.bias 988.335548; "
            "dwc.weight 6180.14313; dwc.bias 1230.78168",
            arguments={"position_size": (6, 9)},
        ),
        "positions of another size": Golden(
            shape=(1, 32, 5, 7),
            values="0.477104758 -0.344718009 -0.625666098 0.257334512 0.647625895 -0.0954951623 "
            "-0.4421629 0.00893289233",
            sums=(18.6200124, 375.158355, 0.38622386),
            input_gradient=(-145.050024, 1803.01286),
            gradients="scale 5.5135386; positional_encoding 119.648037; qkv.weight 54217.2774; "
            "qkv.bias 2633.05288; proj.weight 6286.91722; proj.bias 371.800407; "
            "dwc.weight 2801.97663; dwc.bias 457.74216",
            arguments={"position_size": (6, 9)},
        ),
        "no positions": Golden(
            shape=(2, 32, 6, 9),
            values="0.412834246 -0.475685349 0.579105891 -0.505486344 -0.340193968 0.408639007 "
            "-0.380740734 0.160957456",
            sums=(45.8159421, 925.308198, 0.312456511),
            input_gradient=(-501.976166, 5859.9205),
            gradients="scale 11.7738455; qkv.weight 119432.347; qkv.bias 6765.37229; "
            "proj.weight 12197.1029; proj.bias 840.061518; dwc.weight 5526.62133; "
            "dwc.bias 1031.117",
            arguments={"position_size": None},
        ),
    }
    costs = [
        Cost(
            channels,
            (side, side),
            parameters=parameters,
            macs=macs,
            arguments={"num_heads": heads, "position_size": position_size},
        )
        for channels, heads, side, position_size, parameters, macs in (
            (96, 3, 56, (56, 56), 339_232, 142_399_488),
            (96, 3, 56, None, 38_176, 142_399_488),
            (192, 6, 28, (28, 28), 299_776, 129_002_496),
            (192, 6, 28, None, 149_248, 129_002_496),
        )
    ]
    initial = {
        "qkv.weight": 0.02,
        "qkv.bias": "0",
        "proj.weight": 0.02,
        "proj.bias": "0",
        "dwc.weight": (3 * 25) ** -0.5,
        "scale": "0",
        "positional_encoding": "0",
    }

    def randomize_zero_init(self, module: FocusedLinearAttention) -> None:
        strengthen(module)


def make(channels: int = 16, **options) -> FocusedLinearAttention:
    torch.manual_seed(0)
    module = FocusedLinearAttention(channels, **{"num_heads": 4, **options}).double().eval()
    strengthen(module)
    return module


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def waken(module: FocusedLinearAttention) -> FocusedLinearAttention:
    """Leave every head of every query and key something after ReLU: else the epsilon shows."""
    module.qkv.bias.data[:32] = 2.0
    return module


def silence_dwc(module: FocusedLinearAttention) -> FocusedLinearAttention:
    for parameter in module.dwc.parameters():
        torch.nn.init.zeros_(parameter)
    return module


@pytest.mark.parametrize("power", [1, 2.5, 3, 64])
def test_phi_keeps_the_length_and_scales(power: float) -> None:
    u = image(6, 8).abs()
    phi = focused(u, power)
    torch.testing.assert_close(phi.norm(dim=1), u.norm(dim=1))
    torch.testing.assert_close(focused(7 * u, power), 7 * phi)
    if power == 1:
        torch.testing.assert_close(phi, u)
    if power == 64:  # of the largest entry, nearly alone
        axis = F.one_hot(u.argmax(1), 8) * u.norm(dim=1, keepdim=True)
        spread = u / u.amax(1, keepdim=True)
        clear = spread.sort(1).values[:, -2] < 0.9
        assert clear.any()
        torch.testing.assert_close(phi[clear], axis[clear], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_phi_neither_overflows_nor_vanishes(scale: float) -> None:
    """In single precision, where the cube of either is beyond its range."""
    u = image(6, 8).abs().float()
    torch.testing.assert_close(focused(scale * u, 3) / scale, focused(u, 3), rtol=1e-5, atol=1e-5)


def test_weights_are_a_mean() -> None:
    module, x = waken(make()), image(2, 16, 5, 7)
    maps = module.attention_maps(x, [(0, 0), (4, 6)])["positions"]
    assert maps.shape == (2, 2, 5, 7)
    assert (maps >= 0).all()
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 2).double(), rtol=0, atol=1e-5)


def test_attention_maps_are_the_weights() -> None:
    """Of one head and without DWC: weights times values, projected, are the output."""
    module, x = silence_dwc(make(num_heads=1)), image(2, 16, 5, 7)
    maps = module.attention_maps(x, [(1, 2)])["positions"]
    values = module.qkv(x.flatten(2).mT)[:, :, 32:].mT.unflatten(2, (5, 7))
    mixed = module.proj((maps * values).sum((2, 3)))
    torch.testing.assert_close(module(x)[:, :, 1, 2], mixed)


def test_constant_values_pass() -> None:
    module, x = waken(silence_dwc(make())), image(2, 16, 5, 7)
    torch.nn.init.zeros_(module.qkv.weight[32:])
    expected = module.proj(module.qkv.bias[32:])[:, None, None].expand_as(x)
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


def test_positions_may_change_places() -> None:
    """Without DWC and table."""
    module, x = silence_dwc(make()), image(2, 16, 5, 7)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(2))

    def shuffled(t: Tensor) -> Tensor:
        return t.flatten(2)[:, :, order].unflatten(2, (5, 7))

    torch.testing.assert_close(module(shuffled(x)), shuffled(module(x)))


def test_transposing_map_and_kernels_transposes_the_output() -> None:
    module, x = make(), image(2, 16, 5, 7)
    y = module(x).mT
    module.dwc.weight.data = module.dwc.weight.mT.contiguous()
    torch.testing.assert_close(module(x.mT), y)


def test_longer_queries_change_nothing() -> None:
    module, x = waken(make()), image(2, 16, 5, 7)
    y = module(x)
    with torch.no_grad():
        module.qkv.weight[:16] *= 3
        module.qkv.bias[:16] *= 3
    torch.testing.assert_close(module(x), y, rtol=1e-4, atol=1e-4)


def test_all_heads_share_their_kernels() -> None:
    """Of a value that is the same in every head."""
    module = make()
    v = image(2, 4, 5, 7).repeat(1, 4, 1, 1)
    local = module._convolved(v).unflatten(1, (4, 4))
    torch.testing.assert_close(local, local[:, :1].expand_as(local))
    torch.testing.assert_close(local[:, 0], module.dwc(v[:, :4]))


@pytest.mark.parametrize("power", [1, 2.5, 3])
def test_lengths_may_be_those_of_a_head(power: float) -> None:
    module, x = make(norm="head", power=power), image(2, 16, 5, 7)
    assert set(module.state_dict()) == KEYS | {"scale"}
    torch.testing.assert_close(module(x), by_weights(module, x))
    assert not torch.allclose(module(x), make(power=power)(x)) or power == 1


def test_bad_arguments_are_named() -> None:
    for kwargs in (
        {"power": 0.5},
        {"norm": "map"},
        {"dwc_kernel": 2},
        {"position_size": (7,)},
        {"position_size": (0, 7)},
    ):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            FocusedLinearAttention(16, **kwargs)
