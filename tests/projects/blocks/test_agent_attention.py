"""Promise: agent attention computes its equations, on the authors' weights, at any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.projects.blocks.agent_attention import AgentAttention
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester

TABLES = ("an_bias", "na_bias", "ah_bias", "aw_bias", "ha_bias", "wa_bias")
LINEAR = {f"{name}.{part}" for name in ("qkv", "proj", "dwc") for part in ("weight", "bias")}


def by_softmax(module: AgentAttention, x: Tensor) -> Tensor:
    """The equations as the paper has them: both matrices of weights, tables resized in turn."""
    n, c, height, width = x.shape
    heads, (rows, columns) = module.num_heads, module.agents
    stored = module.stored_agents
    q, k, v = (
        part.transpose(1, 2).reshape(n, c, height, width)
        for part in F.linear(x.flatten(2).mT, module.qkv.weight, module.qkv.bias).split(c, 2)
    )
    agents = F.adaptive_avg_pool2d(q, (rows, columns))

    def resize(table: Tensor) -> Tensor:
        """(heads, stored agents, h, w) to (heads, agents, H W): positions first, then agents."""
        table = F.interpolate(table, (height, width), mode="bilinear").flatten(2).mT
        table = table.reshape(heads * height * width, 1, *stored)
        table = F.interpolate(table, (rows, columns), mode="bilinear")
        return table.reshape(heads, height * width, rows * columns).mT

    b1 = resize(module.an_bias) + resize((module.ah_bias + module.aw_bias)[0])
    b2 = resize(module.na_bias) + resize((module.ha_bias + module.wa_bias)[0].permute(0, 3, 1, 2))
    q, k, values, agents = (t.reshape(n, heads, c // heads, -1).mT for t in (q, k, v, agents))
    scale = (c // heads) ** -0.5
    collected = (agents @ k.mT * scale + b1).softmax(-1) @ values
    out = (q @ agents.mT * scale + b2.mT).softmax(-1) @ collected
    out = out.mT.reshape(n, c, height, width)
    side = module.dwc.weight.shape[-1]
    out = out + F.conv2d(v, module.dwc.weight, module.dwc.bias, padding=side // 2, groups=c)
    return F.linear(out.flatten(2).mT, module.proj.weight, module.proj.bias).mT.view_as(x)


def strengthen(module: AgentAttention) -> None:
    """Make both softmaxes and all tables matter."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        module.qkv.weight.normal_(std=0.3, generator=generator)
        module.proj.weight.normal_(std=0.3, generator=generator)
        for name, parameter in module.named_parameters():
            if name in TABLES or name.endswith(".bias"):
                parameter.normal_(std=0.5, generator=generator)


class TestAgentAttention(MixerTester):
    module = AgentAttention
    arguments = {
        "num_heads": 4,
        "agents": (2, 3),
        "stored_agents": (2, 2),
        "bias_size": (4, 4),
    }
    state_keys = LINEAR | set(TABLES)
    reference = staticmethod(by_softmax)
    # Four heads, four stored agents.
    parameters = staticmethod(lambda c: 4 * c**2 + 4 * c + 10 * c + 4 * 4 * (98 + 2 * 4 + 2 * 4))
    goldens = {
        "more agents than stored": Golden(
            shape=(2, 32, 6, 9),
            values="-0.169207277 0.0133635069 0.423414398 -0.716732905 -0.433371914 0.626548296 "
            "-0.463995418 0.22027155",
            sums=(68.0495235, 1212.72305, 0.398194855),
            input_gradient=(-1256.44137, 3781.35635),
            gradients="an_bias 9.12383032; na_bias 0.252450984; ah_bias 9.29020086; "
            "aw_bias 1.47146409; ha_bias 0.251061541; wa_bias 0.243113236; "
            "qkv.weight 147692.504; qkv.bias 10662.6579; proj.weight 19789.5568; "
            "proj.bias 1208.14886; dwc.weight 8536.17401; dwc.bias 4805.64774",
            arguments={"agents": (3, 3), "stored_agents": (3, 3), "bias_size": (14, 14)},
        )
    }
    costs = [
        Cost(
            channels,
            (side, side),
            parameters=parameters,
            macs=macs,
            arguments={
                "num_heads": heads,
                "agents": (agents, agents),
                "stored_agents": (stored, stored),
                "bias_size": (grid, grid),
            },
        )
        for channels, heads, stored, grid, agents, side, parameters, macs in (
            (96, 3, 3, 56, 3, 56, 46_902, 129_153_024),
            (192, 6, 4, 28, 4, 28, 170_304, 126_594_048),
            (384, 12, 7, 14, 7, 14, 685_752, 131_034_624),
            (96, 3, 3, 56, 9, 128, 46_902, 1_127_743_488),
        )
    ]
    initial = {
        "qkv.weight": 0.02,
        "qkv.bias": "0",
        "proj.weight": 0.02,
        "proj.bias": "0",
        "dwc.weight": (3 * 9) ** -0.5,
        **dict.fromkeys(TABLES, 0.02),
    }

    def randomize_zero_init(self, module: AgentAttention) -> None:
        strengthen(module)


def make(channels: int = 16, *, size: tuple[int, int] = (6, 8), **options) -> AgentAttention:
    torch.manual_seed(0)
    options = {"num_heads": 4, "agents": (2, 2), "bias_size": size, **options}
    module = AgentAttention(channels, **options).double().eval()
    strengthen(module)
    return module


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def silence(*parameters: Tensor) -> None:
    for parameter in parameters:
        torch.nn.init.zeros_(parameter)


def test_one_agent_tells_every_position_the_same() -> None:
    module = make(agents=(1, 1))
    silence(module.dwc.weight, module.dwc.bias)
    y = module(image(2, 16, 6, 8))
    torch.testing.assert_close(y, y[:, :, :1, :1].expand_as(y), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("uniform", [False, True])
def test_as_many_agents_as_positions_are_two_dense_attentions(uniform: bool) -> None:
    """Agents are then the queries; without queries and tables O is the mean of v everywhere."""
    module, x = make(agents=(3, 4), bias_size=None), image(1, 16, 3, 4)
    silence(module.dwc.weight, module.dwc.bias)
    if uniform:
        silence(module.qkv.weight[:16], module.qkv.bias[:16])
    q, k, v = (
        t.unflatten(2, (4, 4)).transpose(1, 2) for t in module.qkv(x.flatten(2).mT).split(16, 2)
    )
    out = (q @ q.mT / 2).softmax(-1) @ (q @ k.mT / 2).softmax(-1) @ v
    if uniform:
        torch.testing.assert_close(out, v.mean(2, keepdim=True).expand_as(v))
    expected = module.proj(out.transpose(1, 2).flatten(2)).mT.view_as(x)
    torch.testing.assert_close(module(x), expected)


def test_constant_values_pass_both_softmaxes() -> None:
    module, x = make(), image(2, 16, 6, 8)
    silence(module.dwc.weight, module.dwc.bias, module.qkv.weight[32:])
    expected = module.proj(module.qkv.bias[32:])[:, None, None].expand_as(x)
    torch.testing.assert_close(module(x), expected)


def test_positions_of_a_cell_may_change_places() -> None:
    """Without tables and DWC, cells alone say where a position is: here of 3 x 4 positions."""
    module, x = make(bias_size=None), image(1, 16, 6, 8)
    silence(module.dwc.weight, module.dwc.bias)

    def swap(t: Tensor) -> Tensor:
        t = t.clone()
        t[..., 0, 0], t[..., 2, 3] = t[..., 2, 3].clone(), t[..., 0, 0].clone()
        return t

    torch.testing.assert_close(module(swap(x)), swap(module(x)))
    apart = x.flip(3)
    assert not torch.allclose(module(apart), module(x).flip(3)[:, :, :, ::2].repeat(1, 1, 1, 2))


def test_transposing_everything_transposes_the_output() -> None:
    module, x = make(agents=(3, 3), stored_agents=(2, 2)), image(2, 16, 6, 8)
    other = make(agents=(3, 3), stored_agents=(2, 2), size=(8, 6))
    state = module.state_dict()

    def swap_agents(table: Tensor, dim: int) -> Tensor:
        return table.unflatten(dim, (2, 2)).transpose(dim, dim + 1).flatten(dim, dim + 1)

    for name in ("an_bias", "na_bias"):
        state[name] = swap_agents(module.get_parameter(name), 1).mT
    for one, two in (("ah_bias", "aw_bias"), ("aw_bias", "ah_bias")):
        state[one] = swap_agents(module.get_parameter(two), 2).mT
    for one, two in (("ha_bias", "wa_bias"), ("wa_bias", "ha_bias")):
        state[one] = swap_agents(module.get_parameter(two), 4).transpose(2, 3)
    state["dwc.weight"] = module.dwc.weight.mT
    other.load_state_dict(state, strict=True)
    torch.testing.assert_close(other(x.mT), module(x).mT)


def test_output_is_linear_in_the_values() -> None:
    module, x = make(), image(2, 16, 6, 8)
    silence(module.proj.bias, module.dwc.bias)
    y = module(x)
    with torch.no_grad():
        module.qkv.weight[32:] *= 2
        module.qkv.bias[32:] *= 2
    torch.testing.assert_close(module(x), 2 * y)


def test_tables_may_hold_another_number_of_agents_than_is_used() -> None:
    """The authors' hold 3 x 3 agents and are used with 9 x 9."""
    few, many = make(agents=(2, 2)), make(agents=(4, 4), stored_agents=(2, 2))
    many.load_state_dict(few.state_dict(), strict=True)
    assert many.an_bias.shape[1] == 4
    assert many.attention_maps(image(1, 16, 6, 8))["agents"].shape == (1, 16, 6, 8)


def test_attention_maps_of_an_agent_sum_to_one() -> None:
    module = make()
    maps = module.attention_maps(image(2, 16, 5, 7))["agents"]
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 4, dtype=torch.float64))


def test_without_tables_the_state_dict_has_none() -> None:
    assert set(AgentAttention(16, bias_size=None).state_dict()) == LINEAR


def test_bad_arguments_are_named() -> None:
    for kwargs in ({"agents": (0, 7)}, {"stored_agents": (3,)}, {"kernel_size": 2}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            AgentAttention(16, **kwargs)
    with pytest.raises(ValueError, match="got 3 heads for 16 channels"):
        AgentAttention(16, num_heads=3)
