"""Promise: ContMix computes its equations, on the authors' weights, at any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.dynamic_window import relative_biases, sum_windows, window_starts
from mmattn.layers.fuse import fuse
from mmattn.projects.blocks import contmix
from mmattn.projects.blocks.contmix import ContMix
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester
from mmattn.testing.module_costs import macs, parameters

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
BRANCHES = ("k5_1", "k3_1", "k3_2", "k3_3")
CONVS = ("weight_query.0", "weight_key.1", "weight_value.0", "fusion_proj.0", "gate.0")
WITH_BIAS = ("dwconv1", "norm1", "weight_proj", "proj.1", "se_layer.proj.1", "se_layer.proj.3")
NORMS = (
    *("weight_query.1", "weight_key.2", "weight_value.1", "fusion_proj.1", "gate.1", "proj.0"),
    *("lepe.1", "lepe.0.origin_bn", *(f"lepe.0.dil_bn_{branch}" for branch in BRANCHES)),
)
KEYS = {
    "rpb1",
    "rpb2",
    "lepe.0.lk_origin.weight",
    *(f"lepe.0.dil_conv_{branch}.weight" for branch in BRANCHES),
    *(f"{name}.weight" for name in CONVS),
    *(f"{name}.{part}" for name in WITH_BIAS for part in ("weight", "bias")),
    *(f"{name}.{part}" for name in NORMS for part in NORM),
}


def moved_window(place: int, kernel: int, length: int) -> range:
    start = min(max(place - kernel // 2, 0), length - kernel)
    return range(start, start + kernel)


def mixed(module: ContMix, normed: Tensor) -> Tensor:
    """The sums over windows, position by position."""
    size = normed.shape[2:]
    shorter, largest = min(size), module.kernels[1]
    if shorter < largest:
        resized = tuple(largest * length // shorter for length in size)
        normed = F.interpolate(normed, resized, mode="bilinear")
    c, (height, width) = normed.shape[1], normed.shape[2:]
    groups = module.groups
    query = module.weight_query(normed).unflatten(1, (groups, -1)) * (c / groups) ** -0.5
    means = F.adaptive_avg_pool2d(normed, 7)
    key = module.weight_key[2](module.weight_key[1](means)).unflatten(1, (groups, -1)).flatten(3)
    affinity = torch.einsum("ngdyx,ngdl->nglyx", query, key)
    logits = module.weight_proj(affinity.flatten(0, 1)).unflatten(0, (-1, groups))
    value = module.weight_value(normed).unflatten(1, (2, groups, -1))
    y = torch.zeros_like(value)
    first = 0
    for number, table in enumerate((module.rpb1, module.rpb2)):
        kernel = module.kernels[number]
        part = logits[:, :, first : first + kernel**2]
        first += kernel**2
        for row in range(height):
            for column in range(width):
                top = moved_window(row, kernel, height)[0]
                left = moved_window(column, kernel, width)[0]
                up, across = top - row + kernel - 1, left - column + kernel - 1
                bias = table[:, up : up + kernel, across : across + kernel].flatten(1)
                weights = (part[..., row, column] + bias).softmax(2)
                window = value[:, number, ..., top : top + kernel, left : left + kernel]
                y[:, number, :, :, row, column] = torch.einsum(
                    "ngk,ngck->ngc", weights, window.flatten(3)
                )
    return F.adaptive_avg_pool2d(y.flatten(1, 3), size)


def by_positions(module: ContMix, x: Tensor) -> Tensor:
    def depthwise(layer: nn.Conv2d, t: Tensor) -> Tensor:
        reach = layer.dilation[0] * (layer.kernel_size[0] // 2)
        return F.conv2d(
            t, layer.weight, layer.bias, padding=reach, dilation=layer.dilation, groups=t.shape[1]
        )

    def channel_norm(layer: nn.LayerNorm, t: Tensor) -> Tensor:
        centred = t - t.mean(1, keepdim=True)
        t = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return t * layer.weight[:, None, None] + layer.bias[:, None, None]

    x = x + depthwise(module.dwconv1, x)
    normed = channel_norm(module.norm1, x)
    many, norm = module.lepe
    local = many.origin_bn(depthwise(many.lk_origin, normed))
    for size, dilation in many.branches:
        conv = getattr(many, f"dil_conv_k{size}_{dilation}")
        local = local + getattr(many, f"dil_bn_k{size}_{dilation}")(depthwise(conv, normed))
    y = module.fusion_proj(mixed(module, normed)) + norm(local)
    _, reduce, _, expand, _ = module.se_layer.proj
    y = y * expand(F.gelu(reduce(y.mean((2, 3), keepdim=True)))).sigmoid()
    gate = F.silu(module.gate[1](module.gate[0](normed)))
    x = x + module.proj(gate * y)
    if module.mlp is None:
        return x
    x = x + depthwise(module.dwconv2, x)
    first, _, local_conv, response, last = module.mlp
    u = F.gelu(first(channel_norm(module.norm2, x)))
    u = u + depthwise(local_conv, u)
    length = u.square().sum((2, 3), keepdim=True).sqrt()
    relative = length / (length.mean(1, keepdim=True) + 1e-6)
    return x + last((response.gamma * relative + 1) * u + response.beta)


def strengthen(module: ContMix) -> None:
    """Kernels that choose, and statistics as after training."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith(("rpb", "weight_proj")):
                parameter.normal_(std=0.5, generator=generator)
            elif parameter.dim() > 1 and not name.startswith("mlp.3"):
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.uniform_(0.5, 1, generator=generator)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(std=0.2, generator=generator)
                part.running_var.uniform_(0.5, 1.5, generator=generator)


class TestContMix(MixerTester):
    module = ContMix
    state_keys = KEYS
    reference = staticmethod(by_positions)
    # Constants of each channel, which the next batch norm takes away; windows keep constants.
    parameters_without_gradient = {
        "weight_value.1.bias",
        "lepe.0.origin_bn.bias",
        *(f"lepe.0.dil_bn_{branch}.bias" for branch in BRANCHES),
    }
    goldens = {
        "with its feed-forward network": Golden(
            shape=(1, 32, 9, 11),
            values="0.593625273 1.40056189 -1.66846954 -0.328115427 3.66843237 -0.792929487 "
            "4.33269489 1.57053406",
            sums=(2401.94724, 15139.3357, 6.56972208),
            input_gradient=(23803.9589, 471194.352),
            gradients="rpb1 69.0304872; rpb2 132.75895; weight_query.0.weight 78.4159537; "
            "weight_key.1.weight 53.7826541; weight_value.0.weight 67587.3851; "
            "weight_proj.weight 517.794663; weight_proj.bias 32.6723235; "
            "lepe.0.lk_origin.weight 388284.979; lepe.0.dil_conv_k3_3.weight 62328.6717; "
            "se_layer.proj.1.weight 102079.808; gate.0.weight 3025425.05; "
            "proj.1.weight 599624.219; proj.1.bias 44266.5245; mlp.3.gamma 36293.2694; "
            "mlp.3.beta 40804.4178",
            arguments={"mlp_ratio": 4},
        )
    }
    costs = [
        Cost(
            channels,
            (17, 17),
            parameters=count,
            arguments={"num_heads": heads, "kernel_size": kernel, "mlp_ratio": 4},
        )
        for channels, heads, kernel, count in (
            (32, 2, 7, 25_516),
            (64, 4, 13, 97_796),
            (256, 4, 13, 992_276),
            (384, 6, 13, 2_134_828),
        )
    ]
    initial = {
        "rpb1": 0.02,
        "rpb2": 0.02,
        "weight_value.0.weight": (3 * 64) ** -0.5,
        "lepe.0.lk_origin.weight": (3 * 49) ** -0.5,
        "lepe.1.weight": "1",
    }

    def randomize_zero_init(self, module: ContMix) -> None:
        strengthen(module)


def make(channels: int = 16, **options) -> ContMix:
    torch.manual_seed(0)
    module = ContMix(channels, **options).double().eval()
    strengthen(module)
    return module


def image(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def silence(*parameters: Tensor) -> None:
    for parameter in parameters:
        torch.nn.init.zeros_(parameter)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"num_heads": 1, "kernel_size": 5, "mlp_ratio": 2}, (3, 4)),
        ({"num_heads": 1, "kernel_size": 9, "small_kernel_size": 3}, (9, 10)),
    ],
)
def test_other_arguments_are_the_equations(options: dict, size: tuple[int, int]) -> None:
    module, x = make(8, **options), image(1, 8, *size)
    torch.testing.assert_close(module(x), by_positions(module, x))


def test_many_channels_in_a_group_are_the_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where W_p is not multiplied by the keys first, since that has more products."""
    module, x = make(), image(1, 16, 7, 8)
    folded = module(x)
    monkeypatch.setattr(contmix, "_CELLS", 1)  # the limit alone: the layers are made
    torch.testing.assert_close(module(x), folded, rtol=1e-12, atol=1e-12)


def test_windows_are_moved_inwards_at_the_borders() -> None:
    starts = window_starts(7, 5, torch.device("cpu"))
    assert starts.tolist() == [0, 0, 0, 1, 2, 2, 2]
    biases = relative_biases(torch.arange(25.0).view(1, 5, 5), (3, 4))
    assert biases.shape == (1, 3, 4, 3, 3)
    # Position (0, 3): its window begins at column 1 and row 0, two to the left of it.
    assert biases[0, 0, 3].tolist() == [[10.0, 11, 12], [15, 16, 17], [20, 21, 22]]


def test_equal_logits_are_means_of_the_moved_windows() -> None:
    module, x = make(), image(1, 16, 8, 9)
    silence(module.weight_proj.weight, module.weight_proj.bias, module.rpb1, module.rpb2)
    normed = module.norm1(module.dwconv1(x))
    y, v = module._mixed(normed), module.weight_value(normed)
    for half, kernel in ((slice(0, 8), 5), (slice(8, 16), 7)):
        for row, column in ((0, 0), (4, 4), (7, 8)):
            rows, columns = moved_window(row, kernel, 8), moved_window(column, kernel, 9)
            window = v[:, half, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            torch.testing.assert_close(y[:, half, row, column], window.mean((2, 3)))


def test_a_kernel_of_its_centre_alone_returns_the_value() -> None:
    """Away from the borders, where the centre of the window is the position."""
    module, x = make(), image(1, 16, 9, 9)
    silence(module.weight_proj.weight, module.weight_proj.bias, module.rpb1, module.rpb2)
    module.weight_proj.bias.data[[12, 25 + 24]] = 40.0
    normed = module.norm1(module.dwconv1(x))
    inside = (..., slice(3, 6), slice(3, 6))
    torch.testing.assert_close(module._mixed(normed)[inside], module.weight_value(normed)[inside])


def test_weights_of_a_window_are_a_mean() -> None:
    for weights in make()._weights(image(2, 16, 8, 9), torch.float64):
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum((4, 5)), torch.ones(2, 4, 8, 9).double())


def test_values_reach_their_window_and_keys_the_whole_map() -> None:
    module, normed = make(), image(1, 16, 12, 13).requires_grad_()
    (grad,) = torch.autograd.grad(module._mixed(normed)[0, 8:, 0, 0].sum(), normed)
    assert (grad.abs().amax((0, 1)) > 0).all()
    silence(module.weight_key[1].weight)
    (grad,) = torch.autograd.grad(module._mixed(normed)[0, 8:, 0, 0].sum(), normed)
    reached = (grad.abs().amax((0, 1)) > 0).nonzero().amax(0)
    assert reached.tolist() == [6, 6]


@pytest.mark.parametrize("kernel_size", [5, 7, 9, 11, 13, 15, 17])
def test_fused_it_has_one_kernel_and_the_same_output(kernel_size: int) -> None:
    module, x = make(8, kernel_size=kernel_size, num_heads=1), image(1, 8, 18, 19)
    fused = fuse(module)
    names = {name for name in fused.state_dict() if name.startswith("lepe.0.")}
    assert names == {"lepe.0.lk_origin.weight", "lepe.0.lk_origin.bias"}
    torch.testing.assert_close(fused(x), module(x))


@pytest.mark.parametrize(
    ("channels", "heads", "count"), [(64, 4, 87_364), (256, 4, 950_548), (384, 6, 2_072_236)]
)
def test_parameters_of_the_fused_form_are_the_published_ones(
    channels: int, heads: int, count: int
) -> None:
    module = ContMix(channels, num_heads=heads, kernel_size=13, mlp_ratio=4)
    assert parameters(fuse(module)) == count


def test_multiply_accumulates_are_the_published_ones_but_for_the_order_of_products() -> None:
    """W_p and the keys of an image first: C / 2 for each weight in place of 49 (1 / 2 G + G).

    The sums over windows are no matrix products here; theirs are counted.
    """
    c, heads, k, small, height, width = 64, 4, 13, 5, 20, 24
    with torch.device("meta"):
        module = ContMix(c, num_heads=heads, kernel_size=k, small_kernel_size=small).eval()
    positions, groups, weights = height * width, 2 * heads, k**2 + small**2
    once = 49 * c**2 // 2 + 2 * c * max(16, c // 8)
    branches = sum(size**2 for size, _ in module.lepe[0].branches)
    published = once + positions * (
        9 * c**2 // 2 + 49 * c // 2 + 49 * groups * weights + c // 2 * weights + c * k**2 + 9 * c
    )
    saved = positions * (49 * c // 2 + 49 * groups * weights) - 49 * weights * c // 2
    ours = published - saved + positions * c * branches  # the form of training
    assert macs(module, 1, c, height, width) == ours
    assert saved > published / 3


@pytest.mark.parametrize("size", [(8, 9), (5, 9), (1, 3)])
def test_attention_maps_are_the_weights(size: tuple[int, int]) -> None:
    """Also on maps that are resized. All groups have one kernel where the mapping is a bias."""
    module, x = make(), image(2, 16, *size)
    silence(module.weight_proj.weight, module.rpb1, module.rpb2)
    positions = [(0, 0), (size[0] // 2, size[1] - 1)]
    maps = module.attention_maps(x, positions)
    normed = module.norm1(module.dwconv1(x))
    y, v = module._mixed(normed), module.weight_value(normed)
    for half, name in ((slice(0, 8), "small"), (slice(8, 16), "large")):
        got = torch.einsum("nphw,nchw->npc", maps[name], v[:, half])
        expected = torch.stack([y[:, half, row, column] for row, column in positions], 1)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(maps[name].sum((2, 3)), torch.ones(2, 2).double())
    assert maps["channel"].shape == (2, 16, 1, 1)


def test_a_single_image_of_one_position_trains() -> None:
    module = make().train()
    module(image(1, 16, 1, 1)).square().sum().backward()


def test_sums_over_windows_of_a_channel_are_those_by_hand() -> None:
    values = torch.arange(12.0).view(1, 3, 4, 1)
    weights = torch.zeros(1, 3, 4, 1, 3, 3)
    weights[..., 2, 0] = 1  # the lower left cell of every window
    y = sum_windows(values, weights)
    assert y.flatten().tolist() == [8.0, 8, 9, 9] * 3


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"got 3 heads for 16 channels"):
        ContMix(16, num_heads=3)
    for kwargs in ({"kernel_size": 19}, {"small_kernel_size": 9}, {"mlp_ratio": 0.0}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            ContMix(16, **kwargs)
