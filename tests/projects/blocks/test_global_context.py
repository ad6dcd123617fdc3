"""Promise: the global context block is the paper's, on mmcv's weights too."""

from __future__ import annotations

import pytest
import torch
from mmcv.cnn import ContextBlock
from torch import Tensor

from mmattn.projects.blocks.global_context import GlobalContext
from mmattn.testing.plugin import PluginTester


def by_loops(module: GlobalContext, x: Tensor) -> Tensor:
    """The equations, position by position."""

    def linear(conv, vector: Tensor) -> Tensor:
        return conv.weight[:, :, 0, 0] @ vector + conv.bias

    first, norm, _, last = module.channel_add_conv or module.channel_mul_conv
    y = torch.empty_like(x)
    for n, image in enumerate(x.flatten(2)):
        weights = [linear(module.conv_mask, position).exp() for position in image.T]
        context = sum(w * position for w, position in zip(weights, image.T, strict=True))
        hidden = linear(first, context / sum(weights))
        centred = hidden - hidden.mean()
        hidden = centred / (centred.square().mean() + norm.eps).sqrt()
        hidden = hidden * norm.weight[:, 0, 0] + norm.bias[:, 0, 0]
        delta = linear(last, hidden.clamp(min=0))[:, None, None]
        y[n] = x[n] + delta if module.fusion == "add" else x[n] * delta.sigmoid()
    return y


def randomize_zero_init(module: GlobalContext) -> None:
    transform = module.channel_add_conv or module.channel_mul_conv
    torch.nn.init.normal_(transform[-1].weight)
    torch.nn.init.normal_(transform[-1].bias)
    torch.nn.init.uniform_(transform[1].weight, 0.5, 1.5)


def keys(fusion: str) -> set[str]:
    names = ("conv_mask", *(f"channel_{fusion}_conv.{i}" for i in (0, 1, 3)))
    return {f"{name}.{part}" for name in names for part in ("weight", "bias")}


class TestGlobalContext(PluginTester):
    module = GlobalContext
    state_keys = keys("add")
    identity_at_init = True
    # The mask; two 1 x 1 convolutions with biases and a norm between them.
    parameters = staticmethod(
        lambda c: c + 1 + (hidden := max(8, c // 16)) * (2 * c + 1) + 2 * hidden + c
    )
    reference = staticmethod(by_loops)
    # A constant added to all logits does not change their softmax.
    parameters_without_gradient = {"conv_mask.bias"}
    randomize_zero_init = staticmethod(randomize_zero_init)


def randomized(channels: int = 16, **kwargs) -> GlobalContext:
    torch.manual_seed(0)
    module = GlobalContext(channels, **kwargs)
    randomize_zero_init(module)
    return module


def test_multiplying_starts_at_a_half_and_follows_its_equation() -> None:
    module, x = GlobalContext(16, fusion="mul").double(), torch.randn(2, 16, 5, 7).double()
    assert set(module.state_dict()) == keys("mul")
    assert torch.equal(module(x), x / 2)
    randomize_zero_init(module)
    torch.testing.assert_close(module(x), by_loops(module, x))


def test_adds_the_same_vector_everywhere() -> None:
    module, x = randomized(), torch.randn(2, 16, 5, 7)
    delta = (module(x) - x).detach()
    torch.testing.assert_close(delta, delta[:, :, :1, :1].expand_as(delta))
    assert delta.abs().max() > 0.1


def test_attention_maps_are_the_weights_of_the_context() -> None:
    module, x = randomized(), torch.randn(2, 16, 5, 7)
    weights = module.attention_maps(x)["spatial"]
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(2, 1))
    delta = module.channel_add_conv((x * weights).sum((2, 3), keepdim=True))
    torch.testing.assert_close(module(x), x + delta)


def test_positions_do_not_matter_to_the_context() -> None:
    module, x = randomized(), torch.randn(2, 16, 5, 7)
    order = torch.randperm(35)

    def shuffled(features: Tensor) -> Tensor:
        return features.flatten(2)[:, :, order].unflatten(2, (5, 7))

    torch.testing.assert_close(module(shuffled(x)), shuffled(module(x)))


@pytest.mark.parametrize("fusion", ["add", "mul"])
@pytest.mark.parametrize("size", [(5, 7), (1, 1)])
def test_weights_of_mmcv_give_mmcvs_output(fusion: str, size: tuple[int, int]) -> None:
    theirs = ContextBlock(64, 1 / 4, fusion_types=(f"channel_{fusion}",))
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours = GlobalContext(64, reduction=4, fusion=fusion)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 64, *size)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)


def test_large_maps_keep_their_context_in_float16() -> None:
    """A weight of 1 / 65536 is subnormal in float16."""
    module, x = randomized(8).half(), torch.randn(1, 8, 256, 256).half() + 3
    truth = module.double()(x.double())
    y = module.half()(x)
    assert (y.double() - truth).abs().max() <= 2 * torch.finfo(
        torch.float16
    ).eps * truth.abs().max()


def test_few_channels_keep_a_norm_of_eight() -> None:
    assert GlobalContext(16).channel_add_conv[0].out_channels == 8
    assert GlobalContext(16, hidden_channels=3).channel_add_conv[0].out_channels == 3


def test_bad_arguments_are_named() -> None:
    for kwargs in ({"reduction": 0}, {"hidden_channels": 0}, {"fusion": "concat"}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            GlobalContext(8, **kwargs)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_the_context_has_the_layout_of_its_input(layout) -> None:
    x = torch.randn(2, 8, 3, 5).contiguous(memory_format=layout).requires_grad_()
    block = GlobalContext(8)
    context = block._context(x, torch.rand(2, 1, 15))
    (gradient,) = torch.autograd.grad(context.square().sum(), x)
    assert gradient.is_contiguous(memory_format=layout)
