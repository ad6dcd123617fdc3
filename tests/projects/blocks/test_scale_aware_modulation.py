"""Promise: scale-aware modulation mixes convolutions of several sizes as the paper's block does."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.scale_aware_modulation import ScaleAwareModulation
from mmattn.testing.golden import Golden
from mmattn.testing.mixer import Cost, MixerTester


def roughen(module: nn.Module) -> None:
    """Weights and statistics as after training."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name in ("bn.weight", "bn.running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.is_floating_point():
                size = value[0].numel() if value.dim() > 1 else 10
                value.uniform_(-2, 2, generator=generator).div_(size**0.5)


def rough(channels: int = 8, **arguments) -> ScaleAwareModulation:
    module = ScaleAwareModulation(channels, **{"num_heads": 2, **arguments}).double().eval()
    roughen(module)
    return module


def feature_maps(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def local_convs(module: ScaleAwareModulation) -> list[nn.Conv2d]:
    return [module.get_submodule(f"local_conv_{m}") for m in range(1, module.num_heads + 1)]


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x.movedim(1, 3), layer.weight, layer.bias).movedim(3, 1)


def by_channel(module: ScaleAwareModulation, x: Tensor) -> Tensor:
    """The formula, one channel, kernel size and tap at a time."""
    heads = module.num_heads
    d = x.shape[1] // heads
    height, width = x.shape[2:]
    z = linear(module.s, x)
    t = torch.zeros_like(z)
    for m, conv in enumerate(local_convs(module)):
        padded = F.pad(z, (m + 1,) * 4)
        for g in range(d):
            u = conv.bias[g].expand_as(x[:, 0])
            for row in range(2 * m + 3):
                for column in range(2 * m + 3):
                    window = padded[:, m * d + g, row : row + height, column : column + width]
                    u = u + conv.weight[g, 0, row, column] * window
            t[:, g * heads + m] = u
    wide = module.proj0.out_channels // d
    mixed = []
    for g in range(d):  # each group sees the sizes of one channel
        rows = slice(g * wide, (g + 1) * wide)
        group = t[:, g * heads : (g + 1) * heads]
        weight = module.proj0.weight[rows, :, 0, 0]
        mixed.append(torch.einsum("om,nmhw->nohw", weight, group))
    y = torch.cat(mixed, 1) + module.proj0.bias[:, None, None]
    bn = module.bn
    y = (y - bn.running_mean[:, None, None]) / (bn.running_var + bn.eps).sqrt()[:, None, None]
    y = y * bn.weight[:, None, None] + bn.bias[:, None, None]
    y = y * 0.5 * (1 + torch.erf(y / 2**0.5))
    y = torch.einsum("oc,nchw->nohw", module.proj1.weight[:, :, 0, 0], y)
    y = y + module.proj1.bias[:, None, None]
    return linear(module.proj, y * linear(module.v, x))


class TestScaleAwareModulation(MixerTester):
    module = ScaleAwareModulation
    in_channels = 8
    arguments = {"num_heads": 2}
    state_keys = {
        *(
            f"{layer}.{part}"
            for layer in ("v", "s", "proj0", "bn", "proj1", "proj", "local_conv_1", "local_conv_2")
            for part in ("weight", "bias")
        ),
        "bn.running_mean",
        "bn.running_var",
        "bn.num_batches_tracked",
    }
    reference = staticmethod(by_channel)
    # In training the batch norm takes away what is equal at all positions.
    parameters_without_gradient = {"proj0.bias", "local_conv_1.bias", "local_conv_2.bias"}
    goldens = {
        "G1": Golden(
            (2, 32, 6, 9),
            "0.0635271014 0.0974453266 -0.108792228 -0.0671835493 0.140236549 -0.0340593234 "
            "-0.0932616744 -0.0238961108",
            (-29.4400731, 240.141083, 0.0770325994),
            (-8.52815386, 29.6982437),
            "proj.weight 595.803682; proj.bias 238.520745; v.weight 1069.46497; v.bias 65.99222; "
            "s.weight 197.847791; s.bias 11.2804216; local_conv_1.weight 6.33014469; "
            "local_conv_1.bias 2.69221317; local_conv_2.weight 11.6035668; "
            "local_conv_2.bias 2.3971614; local_conv_3.weight 10.7394033; "
            "local_conv_3.bias 2.03949059; local_conv_4.weight 16.5126695; "
            "local_conv_4.bias 1.86773843; proj0.weight 11.5235042; proj0.bias 10.8072872; "
            "bn.weight 3.84125216; bn.bias 11.2871375; proj1.weight 387.122037; "
            "proj1.bias 44.2273206",
            arguments={"num_heads": 4},
        )
    }
    costs = [
        Cost(c, (side, side), count, macs, {"num_heads": 4})
        for c, side, count, macs in (
            (64, 56, 24_320, 74_059_776),
            (128, 28, 89_600, 69_142_528),
            (256, 14, 343_040, 66_683_904),
        )
    ]
    initial = {
        "v.weight": 0.02,
        "s.bias": "0",
        "proj.weight": 0.02,
        "proj0.weight": (2 / 4) ** 0.5,  # 4 outputs of each group
        "proj1.weight": (2 / 64) ** 0.5,
        "local_conv_1.weight": (2 / 9) ** 0.5,
        "local_conv_2.weight": (2 / 25) ** 0.5,
        "local_conv_2.bias": "0",
        "bn.weight": "1",
        "bn.bias": "0",
    }

    def randomize_zero_init(self, module: nn.Module) -> None:
        roughen(module)


def test_a_modulator_of_one_leaves_a_linear_map() -> None:
    module, x = rough(), feature_maps(2, 8, 4, 5)
    nn.init.zeros_(module.proj1.weight)
    nn.init.ones_(module.proj1.bias)
    torch.testing.assert_close(module(x), linear(module.proj, linear(module.v, x)))


def test_kernels_of_one_tap_see_one_position() -> None:
    module, x = rough(), feature_maps(1, 8, 4, 6)
    for conv in local_convs(module):
        nn.init.zeros_(conv.weight)
        nn.init.ones_(conv.weight[:, 0, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2])
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(module(shuffled), module(x).flatten(2)[:, :, order].view_as(x))


def test_each_head_sees_its_own_square() -> None:
    for head in range(4):
        module = rough(num_heads=4)
        for m, conv in enumerate(local_convs(module)):
            nn.init.ones_(conv.weight) if m == head else nn.init.zeros_(conv.weight)
        z = torch.zeros(1, 8, 13, 13, dtype=torch.float64, requires_grad=True)
        module._modulator(z)[0, :, 6, 6].sum().backward()
        rows, columns = z.grad.abs().sum((0, 1)).nonzero().unbind(1)
        assert (rows.min(), rows.max()) == (6 - head - 1, 6 + head + 1)
        assert len(rows) == len(columns) == (2 * head + 3) ** 2


def test_transposing_kernels_transposes_the_output() -> None:
    module, x = rough(), feature_maps(2, 8, 4, 6)
    expected = module(x).mT
    for conv in local_convs(module):
        conv.weight.data = conv.weight.data.mT
    torch.testing.assert_close(module(x.mT), expected)


def test_the_output_is_linear_in_v() -> None:
    module, x = rough(), feature_maps(2, 8, 4, 5)
    nn.init.zeros_(module.proj.bias)
    expected = 2 * module(x)
    with torch.no_grad():
        for parameter in module.v.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(module(x), expected)


def test_trains_on_a_single_position() -> None:
    """Its batch norm then sees one value per channel, which torch's own refuses."""
    module = ScaleAwareModulation(8, num_heads=2).train()
    x = torch.randn(1, 8, 1, 1, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None and x.grad.any()


def test_the_norm_can_be_folded() -> None:
    module, x = rough(), feature_maps(2, 8, 4, 5)
    folded = copy.deepcopy(module)
    folded.proj0 = nn.utils.fuse_conv_bn_eval(module.proj0, module.bn)
    folded.bn = nn.Identity()
    torch.testing.assert_close(folded(x), module(x))


def test_blocks_of_a_network_keep_their_names() -> None:
    state = ScaleAwareModulation(24, num_heads=3, qkv_bias=False).state_dict()
    network = {f"block1.0.attn.{key}": value for key, value in state.items()}
    # A block with attention of a later stage.
    network |= {f"block3.1.attn.{key}.weight": torch.ones(1) for key in ("q", "kv", "local_conv")}
    conversion = convert_checkpoint(network)
    assert conversion is not None
    assert conversion.converter == "scale-aware-modulation-official"
    assert conversion.state_dict.keys() == network.keys()
    expected = "'mmattn.ScaleAwareModulation', num_heads=3, expand_ratio=2, qkv_bias=False)"
    assert expected in conversion.note
