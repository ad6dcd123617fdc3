"""Promise: neighborhood attention computes its equations, on the authors' weights, at any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.projects.nat import NeighborhoodAttention
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester


def by_dense_attention(module: NeighborhoodAttention, x: Tensor) -> Tensor:
    """Attention to all positions, with a mask that is found position by position."""
    height, width = x.shape[2:]
    heads, k, e = module.num_heads, module.kernel_size, module.dilation

    def seen(length: int, i: int) -> dict[int, int]:
        """Keys of position i and their entries of the table."""
        alike = list(range(i % e, length, e))
        p = alike.index(i)
        first = min(max(p - k // 2, 0), max(len(alike) - k, 0))
        return {alike[m]: m - p + k - 1 for m in range(first, min(first + k, len(alike)))}

    bias = torch.full((heads, height, width, height, width), -torch.inf, dtype=x.dtype)
    table = module.rpb if module.rpb is not None else torch.zeros(heads, 2 * k - 1, 2 * k - 1)
    for i in range(height):
        for j in range(width):
            for y, by in seen(height, i).items():
                for z, bz in seen(width, j).items():
                    bias[:, i, j, y, z] = table[:, by, bz]
    qkv = F.linear(x.flatten(2).mT, module.qkv.weight, module.qkv.bias)
    q, k_, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    logits = q @ k_.mT / q.shape[-1] ** 0.5 + bias.flatten(3).flatten(1, 2)
    out = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return F.linear(out, module.proj.weight, module.proj.bias).mT.view_as(x)


def strengthen(module: NeighborhoodAttention) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5, generator=generator)


class TestNeighborhoodAttention(MixerTester):
    module = NeighborhoodAttention
    arguments = {"num_heads": 4, "kernel_size": 3, "dilation": 2}
    state_keys = {"qkv.weight", "qkv.bias", "rpb", "proj.weight", "proj.bias"}
    reference = staticmethod(by_dense_attention)
    parameters = staticmethod(lambda c: 4 * c**2 + 4 * c + 4 * 5 * 5)
    goldens = {
        "kernel 3": Golden(
            shape=(2, 32, 6, 9),
            values="0.146413093 -0.176713588 0.27983932 -0.448543007 -0.176617325 0.2763289 "
            "-0.290020214 0.0317599478",
            sums=(37.5380406, 729.518808, 0.246408433),
            input_gradient=(25.1286973, 1078.29334),
            gradients="rpb 1.94269991; qkv.weight 36709.1095; qkv.bias 2628.27016; "
            "proj.weight 5401.5462; proj.bias 726.420497",
            arguments={"dilation": 1},
        ),
        "kernel 3, dilation 2": Golden(
            shape=(2, 32, 7, 9),
            values="0.211515962 -0.267930629 0.368273735 -0.526257321 -0.158010775 0.257094554 "
            "-0.293418513 0.0520195935",
            sums=(50.7679084, 944.245419, 0.274803923),
            input_gradient=(35.2535597, 1390.94078),
            gradients="rpb 11.4790663; qkv.weight 56733.0648; qkv.bias 3347.30558; "
            "proj.weight 8203.24101; proj.bias 924.284696",
        ),
    }
    costs = [
        Cost(
            64,
            (56, 56),
            parameters=4 * 64**2 + 4 * 64 + 2 * 13 * 13,
            macs=56 * 56 * (4 * 64**2 + 2 * 49 * 64),
            arguments={"num_heads": 2, "kernel_size": 7, "dilation": 1},
        )
    ]
    initial = {
        "qkv.weight": 0.02,
        "qkv.bias": "0",
        "proj.weight": 0.02,
        "proj.bias": "0",
        "rpb": 0.02,
    }

    def randomize_zero_init(self, module: NeighborhoodAttention) -> None:
        strengthen(module)


def make(channels: int = 8, **options) -> NeighborhoodAttention:
    torch.manual_seed(0)
    module = NeighborhoodAttention(channels, **{"num_heads": 2, "kernel_size": 3, **options})
    strengthen(module)
    return module.double().eval()


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("size", [(3, 5), (6, 6), (2, 9), (1, 1)])
def test_padding_and_clipping_differ_on_small_maps_alone(size: tuple[int, int]) -> None:
    clip, pad = make(dilation=2), make(dilation=2, small_map="pad")
    x = image(1, 8, *size)
    same = torch.allclose(clip(x), pad(x))
    assert same == (min(size) >= 6)


def test_padding_attends_to_zeros_behind_the_map() -> None:
    """As the authors' release: the padded map is any other map, and is cropped."""
    module = make(dilation=2, small_map="pad")
    x = image(1, 8, 3, 7)
    padded = F.pad(x, (0, 0, 0, 3))
    torch.testing.assert_close(module(x), make(dilation=2)(padded)[:, :, :3])


def test_without_a_table_there_is_none() -> None:
    module = make(rel_pos_bias=False)
    assert "rpb" not in module.state_dict()
    x = image(2, 8, 4, 5)
    torch.testing.assert_close(module(x), by_dense_attention(module, x))


def test_wrong_arguments_are_named() -> None:
    for options, message in (
        ({"kernel_size": 4}, "kernel_size"),
        ({"dilation": 0}, "dilation"),
        ({"small_map": "crop"}, "small_map must be 'clip' or 'pad', got 'crop'"),
    ):
        with pytest.raises(ValueError, match=message):
            NeighborhoodAttention(16, **options)
