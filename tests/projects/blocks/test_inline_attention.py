"""Promise: InLine attention is the paper's formula, at a cost linear in the number of positions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.inline_attention import (
    FEATURE_MAPS,
    InLineAttention,
    convolve_each,
    convolve_each_by_shifts,
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


def rough(channels: int = 8, **arguments) -> InLineAttention:
    module = InLineAttention(channels, **{"num_heads": 2, **arguments}).double().eval()
    roughen(module)
    return module


def feature_maps(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def attention_matrix(module: InLineAttention, x: Tensor) -> tuple[Tensor, Tensor]:
    """The weights a, (N, heads, L, L), and the values, (N, heads, L, d), as the paper prints."""
    tokens = x.flatten(2).transpose(1, 2)
    n, length, channels = tokens.shape
    d = channels // module.num_heads
    parts = nn.functional.linear(tokens, module.qkv.weight, module.qkv.bias).split(channels, 2)
    q, k, v = (part.view(n, length, -1, d).transpose(1, 2) for part in parts)
    phi = FEATURE_MAPS[module.feature_map]
    products = d**-0.5 / length * phi(q) @ phi(k).transpose(2, 3)
    return products - products.sum(3, keepdim=True) / length + 1 / length, v


def by_matrix(module: InLineAttention, x: Tensor) -> Tensor:
    """The formula with N x N weights, and a neighbourhood one position at a time."""
    n, channels, height, width = x.shape
    a, v = attention_matrix(module, x)
    torch.testing.assert_close(a.sum(3), torch.ones_like(a[..., 0]))
    out = (a @ v).transpose(1, 2).reshape(n, height, width, channels).clone()
    if module.residual is not None:
        taps = module.residual(x.mean((2, 3)).unsqueeze(2)).view(n, channels, 3, 3)
        values = v.transpose(1, 2).reshape(n, height, width, channels)
        for row in range(height):
            for column in range(width):
                for i in range(max(row - 1, 0), min(row + 2, height)):
                    for j in range(max(column - 1, 0), min(column + 2, width)):
                        tap = taps[:, :, i - row + 1, j - column + 1]
                        out[:, row, column] += tap * values[:, i, j]
    return module.proj(out).permute(0, 3, 1, 2)


class TestInLineAttention(MixerTester):
    module = InLineAttention
    in_channels = 8
    arguments = {"num_heads": 2}
    state_keys = {
        f"{layer}.{entry}"
        for layer in ("qkv", "proj", "residual.0", "residual.2")
        for entry in ("weight", "bias")
    }
    reference = staticmethod(by_matrix)
    goldens = {
        "G1": Golden(
            (2, 32, 6, 9),
            "-0.927456267 0.79508534 0.624014068 -0.40300805 0.122918822 -0.280784001 "
            "-0.0563459527 0.712531344",
            (19.4635515, 1811.48734, 0.616821778),
            (-2625.25597, 34606.2554),
            "qkv.weight 82610.1672; qkv.bias 4648.94599; proj.weight 9750.49966; "
            "proj.bias 849.401405; residual.0.weight 8756.29014; residual.0.bias 2032.94534; "
            "residual.2.weight 24474.952; residual.2.bias 7125.60593",
            arguments={"num_heads": 4},
        )
    }
    # Less by N C than the paper counts: q . mean(k) is part of the product with the covariance.
    costs = [
        Cost(c, (side, side), count, macs - side * side * c, {"num_heads": heads})
        for c, heads, side, count, macs in (
            (96, 3, 56, 68_928, 137_914_368),
            (192, 6, 28, 211_584, 126_806_016),
            (384, 6, 14, 840_960, 126_237_696),
        )
    ]
    initial = {"qkv.weight": 0.02, "qkv.bias": "0", "proj.weight": 0.02, "proj.bias": "0"}

    def randomize_zero_init(self, module: nn.Module) -> None:
        roughen(module)


@pytest.mark.parametrize("feature_map", FEATURE_MAPS)
@pytest.mark.parametrize("local", [False, True])
def test_linear_form_is_the_matrix_form(feature_map: str, local: bool) -> None:
    module = rough(feature_map=feature_map, local=local, qkv_bias=local)
    x = 0.3 * feature_maps(2, 8, 4, 5)
    torch.testing.assert_close(module(x), by_matrix(module, x), rtol=1e-10, atol=1e-10)


def test_the_two_convolutions_with_predicted_kernels_agree() -> None:
    for shape in ((2, 3, 1, 1), (1, 4, 1, 6), (3, 2, 5, 4), (0, 2, 3, 3)):
        x, kernels = feature_maps(*shape), feature_maps(*shape[:2], 9)
        torch.testing.assert_close(convolve_each(x, kernels), convolve_each_by_shifts(x, kernels))


def without_keys(module: InLineAttention) -> None:
    c = module.proj.in_features
    with torch.no_grad():
        module.qkv.weight[c : 2 * c] = 0
        module.qkv.bias[c : 2 * c] = 0


def values_of(module: InLineAttention, x: Tensor) -> Tensor:
    """v as feature maps."""
    c = x.shape[1]
    v = nn.functional.linear(x.movedim(1, 3), module.qkv.weight[2 * c :], module.qkv.bias[2 * c :])
    return v.movedim(3, 1)


def projected(module: InLineAttention, y: Tensor) -> Tensor:
    return module.proj(y.movedim(1, 3)).movedim(3, 1)


def test_equal_keys_give_the_mean_of_the_values() -> None:
    module, x = rough(local=False), feature_maps(2, 8, 4, 5)
    without_keys(module)
    mean = values_of(module, x).mean((2, 3), keepdim=True).expand_as(x)
    torch.testing.assert_close(module(x), projected(module, mean))


def test_equal_values_pass_whatever_the_weights_are() -> None:
    module, x = rough(local=False), feature_maps(2, 8, 4, 5)
    with torch.no_grad():
        module.qkv.weight[16:] = 0
    torch.testing.assert_close(module(x), projected(module, values_of(module, x)))


def test_one_vector_more_in_all_keys_changes_nothing() -> None:
    module, x = rough(), feature_maps(2, 8, 4, 5)
    expected = module(x)
    with torch.no_grad():
        module.qkv.bias[8:16] += 3
    torch.testing.assert_close(module(x), expected)


def test_the_length_of_a_query_matters() -> None:
    """Attention that divides by the sum of its weights returns the same for all lengths."""
    module, x = rough(local=False), feature_maps(2, 8, 4, 5)
    expected = module(x)
    with torch.no_grad():
        module.qkv.weight[:8] *= 2
        module.qkv.bias[:8] *= 2
    assert (module(x) - expected).abs().max() > 1e-2


def test_without_kernels_the_order_of_positions_does_not_matter() -> None:
    module, x = rough(local=False), feature_maps(1, 8, 4, 6)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    expected = module(x).flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(module(shuffled), expected)
    with_kernels = rough()
    expected = with_kernels(x).flatten(2)[:, :, order].view_as(x)
    assert not torch.allclose(with_kernels(shuffled), expected)


def test_transposing_kernels_transposes_the_output() -> None:
    module, x = rough(), feature_maps(2, 8, 4, 6)
    expected = module(x).mT
    last = module.residual[2]
    for parameter in last.parameters():
        taps = parameter.data.unflatten(0, (8, 3, 3))
        parameter.data = taps.transpose(1, 2).flatten(0, 2)
    torch.testing.assert_close(module(x.mT), expected)


def test_the_centre_tap_returns_the_value() -> None:
    module, x = rough(), feature_maps(2, 8, 4, 5)
    without_keys(module)
    with torch.no_grad():
        module.residual[2].weight.zero_()
        module.residual[2].bias.zero_()
        module.residual[2].bias[4::9] = 1
    v = values_of(module, x)
    expected = projected(module, v + v.mean((2, 3), keepdim=True))
    torch.testing.assert_close(module(x), expected)


def test_one_position_sees_itself_and_the_centre_tap() -> None:
    module, x = rough(), feature_maps(3, 8, 1, 1)
    kernels = module.residual(x.flatten(2)).view(3, 8, 9)
    v = values_of(module, x)
    expected = projected(module, v + v * kernels[:, :, 4, None, None])
    torch.testing.assert_close(module(x), expected)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="feature_map must be one of 'identity', 'relu', 'exp'"):
        InLineAttention(8, feature_map="elu")


def test_blocks_of_a_network_keep_their_names() -> None:
    block = InLineAttention(64, qkv_bias=False).state_dict()
    network = {f"blocks.1.attn.{key}": value for key, value in block.items()}
    conversion = convert_checkpoint({"model": {**network, "norm.weight": torch.ones(64)}})
    assert conversion is not None
    assert conversion.converter == "inline-attention-official"
    assert conversion.state_dict.keys() == {*network, "norm.weight"}
    assert "type='mmattn.InLineAttention', num_heads=2, qkv_bias=False)" in conversion.note
    back = convert_checkpoint(network, "inline-attention-official", reverse=True)
    assert back is not None
    assert back.state_dict.keys() == network.keys()
    network["blocks.1.attn.residual.2.weight"] = torch.zeros(64, 32, 1)
    with pytest.raises(CheckpointError, match=r"residual\.2\.weight has 64 rows; for 64 .* 576"):
        convert_checkpoint(network)
