"""Promise: the block does what its formulas say, fast and slow alike; mistakes are named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.errors import ConfigError
from mmattn.projects.dynamic_head import DynamicHead, DynamicHeadBlock
from mmattn.projects.dynamic_head.dynamic_relu import DynamicReLU
from mmattn.projects.dynamic_head.fused import ChannelMoments, DynamicMaximum, spread_weights
from mmattn.projects.dynamic_head.high_mode import HIGH_MODES, beginning, upsample
from mmattn.projects.dynamic_head.scale_attention import ScaleAttention
from mmattn.projects.dynamic_head.spatial_attention import SpatialAttention

Pyramid = Callable[..., list[Tensor]]


def block(channels: int = 16, out: int = 32, **options) -> DynamicHeadBlock:
    """A block in which every weight matters: offsets of a pixel, gates above their least."""
    torch.manual_seed(3)
    made = DynamicHeadBlock(channels, out, **{"bias": True, "init": "official", **options})
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.add_(0.2 * torch.randn_like(parameter) * (parameter.dim() == 1))
            if name.startswith("spatial_conv_offset"):
                parameter.mul_(3)
        made.scale_attn_module[1].bias.fill_(0.5)
    return made


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("mode", HIGH_MODES)
def test_fused_is_the_textbook_with_gradients(pyramid: Pyramid, mode: str, count: int) -> None:
    made = block(high_mode=mode).double()
    levels = pyramid(16, (13, 10), count, dtype=torch.float64)
    leaves = [*(x.requires_grad_() for x in levels), *made.parameters()]
    found = []
    for forward in (made, made.textbook):
        outputs = forward(levels)
        loss = sum((y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum() for y in outputs)
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        found.append([*outputs, *(g for g in gradients if g is not None)])
    assert len(found[0]) > count + 10
    for y, expected in zip(*found, strict=True):
        torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)


def test_gradients_of_the_passes() -> None:
    torch.manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64, requires_grad=True)  # noqa: E731
    x, small = draw(2, 3, 4, 5), draw(2, 3, 2, 3)
    weights = spread_weights((2, 3), (4, 5), torch.empty((), dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x: ChannelMoments.apply(x, None), (x,))
    assert torch.autograd.gradcheck(lambda x: ChannelMoments.apply(x, weights), (small,))
    numbers = [draw(2, 3) for _ in range(8)]
    assert torch.autograd.gradcheck(DynamicMaximum.apply, (*numbers, x, draw(2, 3, 4, 5), small))


def test_gradcheck_of_a_block(pyramid: Pyramid) -> None:
    made = block(16, 16).double()
    levels = [x.requires_grad_() for x in pyramid(16, (3, 4), 2, batch=1, dtype=torch.float64)]
    assert torch.autograd.gradcheck(lambda *x: tuple(made(list(x))), levels, fast_mode=True)


def test_mean_of_the_upsampled_map_is_a_weighted_mean() -> None:
    x = torch.randn(2, 3, 4, 7, dtype=torch.float64)
    weights = spread_weights((4, 7), (8, 13), x)
    assert weights.sum().item() == pytest.approx(1)
    _, _, mean = ChannelMoments.apply(x, weights)
    torch.testing.assert_close(mean, upsample(x, (8, 13)).mean((2, 3)))


def test_where_both_lines_meet_each_gets_half_of_the_gradient() -> None:
    """As torch.maximum does."""
    x = torch.zeros(1, 1, 2, 2, requires_grad=True)
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    y = DynamicMaximum.apply(zero, one, zero, zero, zero, one, x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.full_like(x, 0.5))


def test_undisplaced_taps_are_a_convolution() -> None:
    spatial = SpatialAttention(8, 16, bias=True)
    nn.init.normal_(spatial.conv.bias)
    x = torch.randn(2, 8, 6, 7)
    y = spatial(x, torch.zeros(2, 18, 6, 7), torch.ones(2, 9, 6, 7))
    dense = F.conv2d(x, spatial.conv.weight, spatial.conv.bias, 1, 1)
    expected = F.group_norm(dense, 16, spatial.norm.weight, spatial.norm.bias)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)


def test_an_offset_moves_down_and_right() -> None:
    """Offsets are (down, right), taps row by row: 2 down and 1 right reads the moved image."""
    spatial = SpatialAttention(4, 16)
    x = torch.zeros(1, 4, 12, 12)
    x[:, :, 3:9, 3:9] = torch.randn(1, 4, 6, 6)
    offset = torch.tensor([2.0, 1.0]).repeat(9).view(1, 18, 1, 1).expand(1, 18, 12, 12)
    y = spatial.conv(x, offset, torch.ones(1, 9, 12, 12))
    moved = torch.roll(x, (-2, -1), (2, 3))
    torch.testing.assert_close(
        y, F.conv2d(moved, spatial.conv.weight, None, 1, 1), rtol=1e-4, atol=1e-5
    )


def test_gates_are_between_one_half_and_one() -> None:
    gate = ScaleAttention(4)
    x = 100 * torch.randn(64, 4, 3, 3)
    gates = gate(x)
    assert gates.min() == 0.5
    assert gates.max() == 1
    torch.testing.assert_close(gate.of_means(x.mean((2, 3))), gates.flatten(1))


def test_dynamic_relu_is_relu_where_its_network_says_nothing() -> None:
    relu = DynamicReLU(8)
    for conv in (relu.conv2.conv,):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    x = torch.randn(2, 8, 3, 4)
    assert torch.equal(relu(x), x.relu())


def test_coefficients_of_dynamic_relu_are_in_the_authors_order() -> None:
    """a1, b1, a2, b2, of which a1 starts at 1."""
    relu = DynamicReLU(4)
    nn.init.zeros_(relu.conv2.conv.weight)
    with torch.no_grad():  # hard_sigmoid(v) - 1/2 = v / 6
        relu.conv2.conv.bias.copy_(torch.tensor([0.6, 1.2, -0.6, -1.2]).repeat_interleave(4))
    found = relu.of_means(torch.randn(3, 4))
    for values, expected in zip(found, (1.2, 0.2, -0.2, -0.2), strict=True):
        torch.testing.assert_close(values, torch.full((3, 4), expected))


# The coarser level


def test_official_offsets_are_those_that_a_kernel_finds_in_memory() -> None:
    """GLIP's issue 52: no size is compared, and strides are those of the coarser map."""
    sampling = torch.randn(2, 27, 6, 8)
    height, width = 3, 4
    for first, count in ((0, 18), (18, 9)):
        part = sampling[:, first : first + count]
        strides = (27 * 48, height * width, width, 1)
        in_memory = sampling.as_strided((2, count, height, width), strides, first * 48)
        assert torch.equal(beginning(part, (height, width)), in_memory)
        assert torch.equal(beginning(part, (6, 8)), part)


def test_official_mode_is_the_kernel_s_branch(pyramid: Pyramid) -> None:
    """The whole branch, with torchvision's operator on the memory that a kernel would read."""
    made = block(16, 16)
    fine, coarse = pyramid(16, (7, 10), 2)
    sampling = made.spatial_conv_offset(fine)
    sampling = torch.cat([sampling[:, :18], sampling[:, 18:].sigmoid()], 1).contiguous()
    views = [
        sampling.as_strided((2, count, 4, 5), (27 * 70, 20, 5, 1), first * 70).contiguous()
        for first, count in ((0, 18), (18, 9))
    ]
    conv = made.spatial_conv_high.conv
    expected = torchvision.ops.deform_conv2d(
        coarse, views[0], conv.weight, conv.bias, 1, 1, 1, views[1]
    )
    _, (module, found, size) = made._convolved([fine, coarse], 0)
    assert module is made.spatial_conv_high
    assert size == (7, 10)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_modes_agree_where_offsets_are_the_same_everywhere(pyramid: Pyramid) -> None:
    """The three differ in which offsets the coarser level reads, not in what is done with them."""
    levels = pyramid(16, (8, 12), 2)
    made = {mode: block(high_mode=mode, init="mmdet") for mode in HIGH_MODES}
    state = made["official"].state_dict()
    state["spatial_conv_offset.weight"].zero_()
    state["spatial_conv_offset.bias"].zero_()
    outputs = {}
    for mode, one in made.items():
        one.load_state_dict(state)
        with torch.no_grad():
            outputs[mode] = one(levels)
    torch.testing.assert_close(outputs["resize"], outputs["official"])
    assert not torch.allclose(outputs["natural"][0], outputs["official"][0], atol=1e-3)
    torch.testing.assert_close(outputs["natural"][1], outputs["official"][1])


def test_natural_mode_convolves_the_upsampled_map(pyramid: Pyramid) -> None:
    fine, coarse = pyramid(16, (7, 10), 2)
    made = block(high_mode="natural")
    sampling = made.spatial_conv_offset(fine)
    points = sampling[:, :18], sampling[:, 18:].sigmoid()
    expected = made.spatial_conv_high.conv(upsample(coarse, (7, 10)), *points)
    _, (_, found, size) = made._convolved([fine, coarse], 0)
    assert size is None
    torch.testing.assert_close(found, expected)


def test_resize_mode_interpolates_offsets(pyramid: Pyramid) -> None:
    fine, coarse = pyramid(16, (7, 10), 2)
    made = block(high_mode="resize")
    sampling = made.spatial_conv_offset(fine)
    points = (
        F.interpolate(part, size=(4, 5), mode="bilinear", align_corners=True)
        for part in (sampling[:, :18], sampling[:, 18:].sigmoid())
    )
    expected = made.spatial_conv_high.conv(coarse, *points)
    _, (_, found, size) = made._convolved([fine, coarse], 0)
    assert size == (7, 10)
    torch.testing.assert_close(found, expected)


# Images, layouts, precision


@pytest.mark.parametrize("mode", HIGH_MODES)
def test_images_of_a_batch_do_not_meet(pyramid: Pyramid, mode: str) -> None:
    made = block(high_mode=mode).eval()
    levels = pyramid(16, (9, 12), 3, batch=3)
    with torch.no_grad():
        together = made(levels)
        for image in range(3):
            alone = made([x[image : image + 1] for x in levels])
            for y, expected in zip(alone, together, strict=True):
                torch.testing.assert_close(y[0], expected[image], rtol=1e-4, atol=1e-5)


def test_neck_returns_the_layout_that_it_gets(pyramid: Pyramid) -> None:
    neck = DynamicHead(16, 16, 2)
    levels = pyramid(16, (8, 12), 2)
    last = [x.contiguous(memory_format=torch.channels_last) for x in levels]
    with torch.no_grad():
        first, second = neck(levels), neck(last)
    for y, z in zip(first, second, strict=True):
        assert y.is_contiguous()
        assert z.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(y, z, rtol=1e-4, atol=1e-5)


def test_gates_and_coefficients_are_float32_under_autocast_and_in_half_precision(
    pyramid: Pyramid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16 a gate would be wrong by a part in 256 for its whole map."""
    from mmattn.projects.dynamic_head import dynamic_relu

    seen = []
    multiply = F.linear

    def recorded(x: Tensor, *rest) -> Tensor:
        y = multiply(x, *rest)
        seen.append(y.dtype)
        return y

    monkeypatch.setattr(dynamic_relu.F, "linear", recorded)
    made, levels = block().eval(), pyramid(16, (9, 12), 2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made(levels)
    half = made.bfloat16()
    with torch.no_grad():
        outputs = half([x.bfloat16() for x in levels])
    assert len(seen) == 16
    assert set(seen) == {torch.float32}
    assert all(y.dtype == torch.bfloat16 for y in outputs)


@pytest.mark.parametrize("textbook", [False, True])
def test_offsets_are_float32_under_autocast(
    pyramid: Pyramid, monkeypatch: pytest.MonkeyPatch, textbook: bool
) -> None:
    from mmattn.projects.dynamic_head import spatial_attention

    seen = []
    operator = spatial_attention.modulated_deform_conv2d

    def recorded(x: Tensor, offset: Tensor, mask: Tensor, *rest) -> Tensor:
        seen.append((offset.dtype, mask.dtype))
        return operator(x, offset, mask, *rest)

    monkeypatch.setattr(spatial_attention, "modulated_deform_conv2d", recorded)
    made, levels = block(), pyramid(16, (9, 12), 3)
    with torch.no_grad():
        expected = made(levels)
        seen.clear()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = (made.textbook if textbook else made)([x.bfloat16() for x in levels])
    assert len(seen) == 7
    assert set(seen) == {(torch.float32, torch.float32)}
    for y, wanted in zip(outputs, expected, strict=True):
        assert y.dtype == torch.bfloat16
        assert (y.float() - wanted).abs().mean() < 0.03 * wanted.abs().mean() + 0.03


def test_training_keeps_less_than_half_of_what_the_textbook_does(pyramid: Pyramid) -> None:
    from mmattn.training_memory import saved_for_backward

    made = block(64, 64)
    levels = [x.requires_grad_() for x in pyramid(64, (24, 32), 4)]
    weights = {"weights": made.parameters(), "input": levels}
    fused = saved_for_backward(lambda: made(levels), weights)["other"]
    textbook = saved_for_backward(lambda: made.textbook(levels), weights)["other"]
    assert fused < 0.5 * textbook


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"high_mode": "offical"},
            r"high_mode must be one of .*'offical'.*Did you mean 'official'",
        ),
        ({"init": "zero"}, r"init must be one of mmdet, official; got 'zero'"),
        ({"in_channels": [256, 512]}, r"in_channels must be a whole number.*\[256, 512\]"),
        ({"in_channels": 0}, r"in_channels must be a whole number of at least 1"),
        ({"out_channels": 40}, r"out_channels must be a multiple of 16.*40: take 32 or 48"),
        ({"out_channels": 8}, r"got 8: take 16"),
        ({"num_blocks": 0}, r"num_blocks must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DynamicHead(**{"in_channels": 32, "out_channels": 32, **options})


def test_levels_that_do_not_fit_are_refused(pyramid: Pyramid) -> None:
    neck = DynamicHead(32, 32, 1)
    with pytest.raises(ConfigError, match=r"at least one feature map.*an empty one"):
        neck([])
    with pytest.raises(ConfigError, match=r"levels have \[16, 16\].*write in_channels=16"):
        neck(pyramid(16, (8, 8), 2))
    fine, coarse = pyramid(32, (8, 8), 2)
    with pytest.raises(ConfigError, match=r"\[32, 16\] channels.*same number: put an FPN"):
        neck([fine, coarse[:, :16]])
    with pytest.raises(ConfigError, match="level 0 is 8 x 8, so level 1 has to be 4 x 4, and is 3"):
        neck([fine, coarse[:, :, :3]])
    with pytest.raises(ConfigError, match="level 0 is 4 x 4, so level 1 has to be 2 x 2"):
        neck([coarse, fine])


@pytest.mark.parametrize(("init", "bias"), [("official", True), ("mmdet", False)])
def test_initial_weights(init: str, bias: bool) -> None:
    torch.manual_seed(0)
    made = DynamicHead(64, 64, 1, init=init, bias=bias).dyhead_blocks[0]
    bound = 1 / (9 * 64) ** 0.5
    for conv in (made.spatial_conv_high.conv, made.spatial_conv_low.conv):
        assert conv.weight.abs().max() <= bound
        assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert bias is (conv.bias is not None)
        assert conv.bias is None or not conv.bias.any()
    offset, gate = made.spatial_conv_offset, made.scale_attn_module[1]
    hidden = made.task_attn_module.conv1.conv
    assert gate.weight.std().item() == pytest.approx(0.01, rel=0.3)
    if init == "mmdet":
        assert not offset.weight.any() and not offset.bias.any()
        assert hidden.weight.std().item() == pytest.approx(0.01, rel=0.1)
    else:  # torch's own, as of any convolution
        assert offset.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert hidden.weight.std().item() == pytest.approx(1 / 64**0.5 / 3**0.5, rel=0.1)


def test_initialisation_of_the_detector_keeps_these_weights() -> None:
    neck = DynamicHead(32, 32, 1, init="official")
    before = {name: value.clone() for name, value in neck.state_dict().items()}
    neck.init_weights()
    for name, value in neck.state_dict().items():
        assert torch.equal(value, before[name]), name
