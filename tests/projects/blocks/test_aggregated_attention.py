"""Promise: aggregated attention is TransNeXt's, for maps of any size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.aggregated_attention import (
    AggregatedAttention,
    half_distances,
    unfold_windows,
)
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester


def roughen(module: nn.Module) -> None:
    """Weights for which attention matters; fresh ones are nearly silent."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in module.parameters():
            size = parameter[0].numel() if parameter.dim() > 1 else 10
            parameter.uniform_(-2, 2, generator=generator).div_(size**0.5)


def rough(channels: int = 8, **arguments) -> AggregatedAttention:
    module = AggregatedAttention(channels, **{"num_heads": 2, **arguments}).double().eval()
    roughen(module)
    return module


def feature_maps(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x.movedim(1, 3), layer.weight, layer.bias).movedim(3, 1)


def unit(x: Tensor) -> Tensor:
    return x / x.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-12)


def by_query(module: AggregatedAttention, x: Tensor) -> Tensor:
    """The formula, one query at a time, with the cells of its window that there are."""
    channels, height, width = x.shape[1:]
    heads, side = module.num_heads, module.window_size
    ratio = module.sr_ratio
    grid = module.pool_size if ratio is None else (max(height // ratio, 1), max(width // ratio, 1))
    by = (height, width) if module.train_size is None else module.train_size

    def split(y: Tensor) -> Tensor:  # (N, C, H, W) to (N, heads, H, W, d)
        return y.unflatten(1, (heads, -1)).movedim(2, 4)

    q = unit(split(linear(module.q, x)))
    kv = linear(module.kv, x)
    k, v = unit(split(kv[:, :channels])), split(kv[:, channels:])
    pooled = F.adaptive_avg_pool2d(F.gelu(module.sr(x)), grid).movedim(1, 3)
    pooled = F.linear(module.norm(pooled), module.kv.weight, module.kv.bias).movedim(3, 1)
    pooled_k = unit(split(pooled[:, :channels])).flatten(2, 3)
    pooled_v = split(pooled[:, channels:]).flatten(2, 3)
    middles = [
        [(i * length // cells + math.ceil((i + 1) * length / cells) - 1) / 2 for i in range(cells)]
        for length, cells in zip((height, width), grid, strict=True)
    ]
    out = torch.zeros_like(x)
    for row in range(height):
        for column in range(width):
            cells = [
                (number, row + i, column + j)
                for number, (i, j) in enumerate(
                    (i - side // 2, j - side // 2) for i in range(side) for j in range(side)
                )
                if 0 <= row + i < height and 0 <= column + j < width
            ]
            count = len(cells) + pooled_k.shape[2]
            query = q[:, :, row, column]  # (N, heads, d)
            scale = F.softplus(module.temperature[:, 0]) * math.log(count)
            scaled = (query + module.query_embedding[:, 0]) * scale
            logits = [
                (scaled * k[:, :, y, z]).sum(-1) + module.relative_pos_bias_local[:, number]
                for number, y, z in cells
            ]
            relative = torch.tensor(
                [
                    [(row - y) * 8 / max(by[0] - 1, 1), (column - z) * 8 / max(by[1] - 1, 1)]
                    for y in middles[0]
                    for z in middles[1]
                ],
                dtype=x.dtype,
            )
            relative = relative.sign() * (relative.abs() + 1).log2() / math.log2(8)
            cpb = module.cpb_fc2(module.cpb_fc1(relative).relu()).T  # (heads, P)
            far = torch.einsum("nhd,nhpd->nhp", scaled, pooled_k) + cpb
            weights = torch.cat([torch.stack(logits, 2), far], 2).softmax(2)
            y = torch.einsum("nhp,nhpd->nhd", weights[:, :, len(cells) :], pooled_v)
            for place, (number, i, j) in enumerate(cells):
                extra = torch.einsum("nhd,hd->nh", query, module.learnable_tokens[:, :, number])
                extra = extra + module.learnable_bias[:, 0, number]
                y = y + (weights[:, :, place] + extra).unsqueeze(2) * v[:, :, i, j]
            out[:, :, row, column] = y.flatten(1)
    return linear(module.proj, out)


class TestAggregatedAttention(MixerTester):
    module = AggregatedAttention
    in_channels = 8
    arguments = {"num_heads": 2, "sr_ratio": 2}
    state_keys = {
        "temperature",
        "query_embedding",
        "relative_pos_bias_local",
        "learnable_tokens",
        "learnable_bias",
        *(
            f"{layer}.{part}"
            for layer in ("q", "kv", "proj", "sr", "norm", "cpb_fc1", "cpb_fc2")
            for part in ("weight", "bias")
        ),
    }
    reference = staticmethod(by_query)
    goldens = {
        "G1": Golden(
            (2, 32, 6, 8),
            "-0.675104265 1.8643864 -2.47240753 1.27869551 -0.818394678 -0.19364952 0.607550103 "
            "-1.21386743",
            (-84.7283672, 3991.21494, 1.47941113),
            (-3680.9813, 29492.117),
            "temperature 119.377385; query_embedding 653.8852; "
            "relative_pos_bias_local 329.608712; learnable_tokens 24034.0489; "
            "learnable_bias 16083.6558; q.weight 59641.3018; q.bias 5025.89396; "
            "kv.weight 915294.121; kv.bias 21944.6616; proj.weight 188568.325; "
            "proj.bias 719.205161; sr.weight 52727.9543; sr.bias 2310.50702; "
            "norm.weight 1635.62338; norm.bias 873.503192; cpb_fc1.weight 1537.7678; "
            "cpb_fc1.bias 2079.92556; cpb_fc2.weight 41039.2906; cpb_fc2.bias 329.608712",
            arguments={"num_heads": 4},
        )
    }
    # Products with the window are not products of matrices here: less by 2 N K C.
    costs = [
        Cost(
            c,
            (side, side),
            count,
            macs - 2 * side * side * 9 * c,
            {"num_heads": heads, "sr_ratio": None},
        )
        for c, heads, side, count, macs in (
            (48, 2, 56, 14_936, 77_319_680),
            (96, 4, 28, 51_376, 54_744_576),
            (192, 8, 14, 193_376, 47_904_512),
        )
    ]
    initial = {
        "q.weight": 0.02,
        "kv.bias": "0",
        "proj.weight": 0.02,
        "sr.weight": (2 / 64) ** 0.5,
        "sr.bias": "0",
        "norm.weight": "1",
        "learnable_tokens": 0.02,
        "learnable_bias": "0",
        "relative_pos_bias_local": 0.0004,
        "cpb_fc1.weight": 0.02,
        "cpb_fc2.bias": "0",
    }

    def randomize_zero_init(self, module: nn.Module) -> None:
        roughen(module)


@pytest.mark.parametrize("size", [(1, 1), (4, 6), (9, 3)])
def test_a_pooled_copy_of_fixed_size_and_distances_of_training(size: tuple[int, int]) -> None:
    module = rough(pool_size=(3, 2), train_size=(5, 1), window_size=5, qkv_bias=False)
    x = feature_maps(2, 8, *size)
    torch.testing.assert_close(module(x), by_query(module, x), rtol=1e-10, atol=1e-10)


def test_a_fresh_temperature_is_the_authors() -> None:
    scale = F.softplus(AggregatedAttention(8).temperature)
    torch.testing.assert_close(scale, torch.full_like(scale, 1 / 0.24))


def test_distances_are_evaluated_once() -> None:
    """The published numbers of distinct pairs."""
    for length, cells, pairs in ((56, 7, 10_816), (28, 7, 2_704), (14, 7, 676)):
        distances, index = half_distances(length, cells, torch.device("cpu"))
        assert len(distances) ** 2 == pairs
        middle = (length // cells - 1) / 2 + torch.arange(cells) * (length // cells)
        expected = 2 * (torch.arange(length)[:, None] - middle)
        assert torch.equal(distances[index].float(), expected)


def test_without_logits_weights_are_equal_over_what_there_is() -> None:
    module, x = rough(), feature_maps(1, 8, 4, 5)
    with torch.no_grad():
        module.temperature.fill_(-60)
        for value in (module.relative_pos_bias_local, *module.cpb_fc2.parameters()):
            value.zero_()
    tokens = x.flatten(2).transpose(1, 2)
    q, pooled_k, _ = module._queries_and_pooled(x)
    near, far = module._weights(q, module._windows(module.kv(tokens), (4, 5))[0], pooled_k, (4, 5))
    for query, cells in ((0, 4), (1, 6), (2 * 5 + 2, 9)):  # corner, edge, inside
        weights = near[0, :, query]
        assert ((weights > 0).sum(1) == cells).all()
        expected = torch.full_like(far[0, :, query], 1 / (cells + 49))
        torch.testing.assert_close(far[0, :, query], expected)
        torch.testing.assert_close(
            weights.sum(1), torch.full_like(weights[:, 0], cells / (cells + 49))
        )


def test_attention_maps_sum_to_one() -> None:
    module, x = rough(sr_ratio=2), feature_maps(2, 8, 5, 7)
    positions = [(0, 0), (4, 6), (2, 3)]
    maps = module.attention_maps(x, positions)["aggregated"]
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 3, dtype=maps.dtype))
    torch.testing.assert_close(module.attention_maps(x)["aggregated"], maps[:, 2:])


def test_the_length_of_a_query_does_not_matter() -> None:
    module, x = rough(), feature_maps(2, 8, 4, 5)
    expected = module(x)
    with torch.no_grad():
        for parameter in module.q.parameters():
            parameter.mul_(3)
    torch.testing.assert_close(module(x), expected)


def test_a_bias_behind_the_softmax_adds_a_shifted_value() -> None:
    module, x = rough(), feature_maps(2, 8, 4, 5)
    before = module(x)
    with torch.no_grad():
        module.learnable_bias[:, 0, 2] += 0.7  # above, right
    v = linear(module.kv, x)[:, 8:]
    shifted = F.pad(v, (0, 1, 1, 0))[:, :, :-1, 1:]
    weight = module.proj.weight
    expected = before + 0.7 * torch.einsum("oc,nchw->nohw", weight, shifted)
    torch.testing.assert_close(module(x), expected)


def test_windows_of_an_exported_graph_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = feature_maps(2, 3, 4, 5)
    expected = unfold_windows(x, 3)
    monkeypatch.setattr("mmattn.projects.blocks.aggregated_attention.is_exporting", lambda: True)
    assert torch.equal(unfold_windows(x, 3), expected)


def test_blocks_of_a_network_keep_their_names() -> None:
    block = rough(48, window_size=5, qkv_bias=False).state_dict()
    network = {f"block1.0.attn.{key}": value for key, value in block.items()}
    network |= {"block4.0.attn.qkv.weight": torch.ones(1)}
    conversion = convert_checkpoint(network)
    assert conversion is not None
    assert conversion.converter == "aggregated-attention-official"
    assert conversion.state_dict.keys() == network.keys()
    expected = "'mmattn.AggregatedAttention', num_heads=2, window_size=5, qkv_bias=False)"
    assert expected in conversion.note
