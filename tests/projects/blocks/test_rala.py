"""Promise: rank-augmented linear attention computes its equations, on the authors' weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.layers.rotary import rotate, rotation_2d
from mmattn.projects.blocks.rala import RankAugmentedAttention
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester


def turned(vector: Tensor, row: int, column: int) -> Tensor:
    """rot of one head's vector at one position, pair by pair."""
    d, m = len(vector), len(vector) // 4
    parts = []
    for pair in range(d // 2):
        theta = 10000 ** (-(pair % m) / (m - 1)) if m > 1 else 1.0
        angle = (row if pair < m else column) * theta
        a, b = vector[2 * pair], vector[2 * pair + 1]
        cos, sin = math.cos(angle), math.sin(angle)
        parts += [a * cos - b * sin, b * cos + a * sin]
    return torch.stack(parts)


def by_pairs(module: RankAugmentedAttention, x: Tensor) -> Tensor:
    """The equations as sums over pairs of positions."""
    _, c, height, width = x.shape
    positions = [(row, column) for row in range(height) for column in range(width)]
    count, d = len(positions), c // module.num_heads
    images = []
    for image in x:
        q, k, v, o = module.qkvo(image[None])[0].flatten(1).split(c)
        side = module.lepe.weight.shape[-1]
        local = F.conv2d(
            v.view(1, c, height, width), module.lepe.weight, module.lepe.bias,
            padding=side // 2, groups=c,
        )[0].flatten(1)  # fmt: skip
        heads = []
        for head in torch.arange(c).chunk(module.num_heads):
            queries, keys, values = q[head].T, k[head].T, v[head].T  # (N, d)
            if module.linear:
                queries, keys = (torch.where(t > 0, t + 1, t.exp()) for t in (queries, keys))
                alpha = count * (keys @ queries.mean(0) / d**0.5).softmax(0)
                keys = alpha[:, None] * keys
                z = 1 / (queries @ keys.mean(0) + 1e-6)
            if module.rope:
                queries, keys = (
                    torch.stack([turned(u, *p) for u, p in zip(t, positions, strict=True)])
                    for t in (queries, keys)
                )
            if module.linear:
                weights = z[:, None] * (queries @ keys.T) / count
            else:
                weights = (queries @ keys.T / d**0.5).softmax(1)
            heads.append((weights @ values).T)
        y = (torch.cat(heads) + local) * o
        images.append(module.proj(y.view(1, c, height, width))[0])
    return torch.stack(images)


def strengthen(module: RankAugmentedAttention) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3, generator=generator)


class TestRankAugmentedAttention(MixerTester):
    module = RankAugmentedAttention
    arguments = {"num_heads": 2}
    state_keys = {
        f"{name}.{part}" for name in ("qkvo", "lepe", "proj") for part in ("weight", "bias")
    }
    reference = staticmethod(by_pairs)
    parameters = staticmethod(lambda c: 5 * c**2 + 5 * c + 26 * c)
    goldens = {
        "linear": Golden(
            shape=(2, 32, 5, 7),
            values="0.0733262692 0.24571839 -0.24226707 -0.120187241 0.261978679 -0.268727382 "
            "-0.105256744 0.12870322",
            sums=(-21.1404951, 364.841359, 0.195086581),
            input_gradient=(-327.826286, 1759.25287),
            gradients="qkvo.weight 21466.5026; qkvo.bias 902.303845; lepe.weight 1416.57801; "
            "lepe.bias 162.034929; proj.weight 1374.84071; proj.bias 158.551846",
            arguments={"num_heads": 4},
        )
    }
    costs = [
        Cost(c, (side, side), parameters=parameters, macs=macs, arguments={"num_heads": heads})
        for c, heads, side, parameters, macs in (
            (64, 1, 56, 22_464, 95_334_400),
            (128, 2, 28, 85_888, 79_779_840),
            (256, 4, 14, 335_616, 72_002_560),
            (96, 3, 56, 49_056, 171_902_976),
        )
    ]
    initial = {
        f"{name}.{part}": value
        for name in ("qkvo", "lepe", "proj")
        for part, value in (("weight", 0.02), ("bias", "0"))
    }

    def randomize_zero_init(self, module: RankAugmentedAttention) -> None:
        strengthen(module)


def make(channels: int = 16, **options) -> RankAugmentedAttention:
    torch.manual_seed(0)
    module = RankAugmentedAttention(channels, **{"num_heads": 2, **options}).double().eval()
    strengthen(module)
    return module


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def silence(*parameters: Tensor) -> None:
    for parameter in parameters:
        torch.nn.init.zeros_(parameter)


@pytest.mark.parametrize("channels", [4, 8, 16])
def test_rotation_is_pair_by_pair(channels: int) -> None:
    x = image(15, channels)
    cos, sin = rotation_2d((3, 5), x)
    expected = torch.stack([turned(u, i // 5, i % 5) for i, u in enumerate(x)])
    torch.testing.assert_close(rotate(x, cos, sin), expected)


def test_products_of_rotated_vectors_depend_on_differences_alone() -> None:
    a, b = image(2, 8)
    cos, sin = rotation_2d((4, 6), a)

    def product(i: int, j: int) -> Tensor:
        return rotate(a, cos, sin)[i] @ rotate(b, cos, sin)[j]

    torch.testing.assert_close(product(0, 7), product(8, 15))  # one row and one column apart
    torch.testing.assert_close(product(0, 0), a @ b)
    assert not torch.isclose(product(0, 7), product(0, 8))


def test_without_queries_the_largest_sum_of_entries_counts_most() -> None:
    module, x = make(), image(1, 16, 3, 4)
    silence(module.qkvo.weight[:16], module.qkvo.bias[:16])  # elu(0) + 1 = 1
    maps = module.attention_maps(x)["keys"]
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(1, 2, dtype=torch.float64))
    k = F.elu(module.qkvo(x)[:, 16:32]) + 1
    sums = k.unflatten(1, (2, 8)).sum(2)
    assert torch.equal(maps.flatten(2).argsort(2), sums.flatten(2).argsort(2))


def test_constant_values_pass_without_rotation() -> None:
    module, x = make(rope=False), image(2, 16, 5, 7)
    silence(module.lepe.weight, module.lepe.bias, module.qkvo.weight[32:48])
    gate = module.qkvo(x)[:, 48:]
    expected = module.proj(module.qkvo.bias[32:48][:, None, None] * gate)
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("open_", [False, True])
def test_the_gate_has_no_activation(open_: bool) -> None:
    """A gate of 1 is none, one of 0 leaves the bias of the output."""
    module, x = make(), image(2, 16, 5, 7)
    silence(module.qkvo.weight[48:])
    module.qkvo.bias.data[48:] = float(open_)
    y = module(x)
    if open_:
        module.qkvo.bias.data[48:] = -2.0  # signs pass
        without_bias = y - module.proj.bias[:, None, None]
        torch.testing.assert_close(module(x) - module.proj.bias[:, None, None], -2 * without_bias)
    else:
        torch.testing.assert_close(y, module.proj.bias[:, None, None].expand_as(y))


def test_positions_may_change_places_without_rotation() -> None:
    module, x = make(rope=False), image(2, 16, 5, 7)
    silence(module.lepe.weight)
    order = torch.randperm(35, generator=torch.Generator().manual_seed(2))

    def shuffled(t: Tensor) -> Tensor:
        return t.flatten(2)[:, :, order].unflatten(2, (5, 7))

    torch.testing.assert_close(module(shuffled(x)), shuffled(module(x)))
    rotated = make()
    silence(rotated.lepe.weight)
    assert not torch.allclose(rotated(shuffled(x)), shuffled(rotated(x)))


def test_a_single_position_returns_its_value() -> None:
    module, x = make(), image(2, 16, 1, 1)
    v, gate = module.qkvo(x).split(16, 1)[2:]
    expected = module.proj((v + module.lepe(v)) * gate)
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (4, 5)])
@pytest.mark.parametrize("rope", [False, True])
def test_the_form_with_softmax_is_its_equation(rope: bool, size: tuple[int, int]) -> None:
    module, x = make(linear=False, rope=rope), image(2, 16, *size)
    torch.testing.assert_close(module(x), by_pairs(module, x))
    maps = module.attention_maps(x)["keys"]
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 2, dtype=torch.float64))


def test_the_form_with_softmax_runs_in_half_precision() -> None:
    module, x = make(linear=False), image(2, 16, 5, 7)
    expected = module(x)
    y = module.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y - expected).abs().max() <= 4 * 2**-8 * expected.abs().max()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="multiple of 4 channels in a head, got 6: in_channels 24"):
        RankAugmentedAttention(24, num_heads=4)
    RankAugmentedAttention(24, num_heads=4, rope=False)
    with pytest.raises(ValueError, match="lepe_kernel"):
        RankAugmentedAttention(16, lepe_kernel=2)
