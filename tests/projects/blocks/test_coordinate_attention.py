"""Promise: CoordAtt is the paper's block with the authors' layout."""

from __future__ import annotations

import pytest
import torch
from timm.layers.coord_attn import CoordAttn
from torch import Tensor

from mmattn.projects.blocks.coordinate_attention import CoordAtt
from mmattn.testing.plugin import PluginTester


def by_loops(module: CoordAtt, x: Tensor) -> Tensor:
    """The equations, strip by strip."""

    def linear(conv, strip: Tensor) -> Tensor:
        return conv.weight[:, :, 0, 0] @ strip + conv.bias

    def bottleneck(strip: Tensor) -> Tensor:
        norm = module.bn1
        f = linear(module.conv1, strip) - norm.running_mean
        f = f / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
        return f * (f + 3).clamp(0, 6) / 6

    y = torch.empty_like(x)
    for n, image in enumerate(x):
        for i in range(x.shape[2]):
            gate_h = linear(module.conv_h, bottleneck(image[:, i, :].mean(1))).sigmoid()
            for j in range(x.shape[3]):
                gate_w = linear(module.conv_w, bottleneck(image[:, :, j].mean(1))).sigmoid()
                y[n, :, i, j] = image[:, i, j] * gate_h * gate_w
    return y


def randomise_norm(module: CoordAtt) -> None:
    """Statistics and affine weights as after training."""
    norm = module.bn1
    with torch.no_grad():
        for tensor in (norm.weight, norm.running_var):
            tensor.uniform_(0.5, 2)
        for tensor in (norm.bias, norm.running_mean):
            tensor.uniform_(-1, 1)


class TestCoordAtt(PluginTester):
    module = CoordAtt
    state_keys = {
        *(
            f"{name}.{part}"
            for name in ("conv1", "conv_h", "conv_w")
            for part in ("weight", "bias")
        ),
        *(f"bn1.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
        "bn1.num_batches_tracked",
    }
    # Three 1 x 1 convolutions with biases, and a norm.
    parameters = staticmethod(
        lambda c: (hidden := max(8, c // 32)) * (3 * c + 1) + 2 * hidden + 2 * c
    )
    reference = staticmethod(by_loops)
    output_is_gated_input = True
    parameters_without_gradient = {"conv1.bias"}  # a batch norm follows

    def randomize_zero_init(self, module: CoordAtt) -> None:
        randomise_norm(module)


def randomized(channels: int = 16, **kwargs) -> CoordAtt:
    torch.manual_seed(0)
    module = CoordAtt(channels, **kwargs).eval()
    randomise_norm(module)
    return module


def test_zero_gates_leave_a_quarter() -> None:
    module = randomized()
    for conv in (module.conv_h, module.conv_w):
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    x = torch.randn(2, 16, 5, 7)
    assert torch.equal(module(x), x / 4)


@pytest.mark.parametrize("training", [False, True])
def test_transposed_input_with_exchanged_gates_gives_transposed_output(training: bool) -> None:
    module, x = randomized().train(training), torch.randn(2, 16, 5, 7)
    exchanged = randomized().train(training)
    exchanged.conv_h, exchanged.conv_w = exchanged.conv_w, exchanged.conv_h
    expected = module(x).transpose(2, 3)
    torch.testing.assert_close(exchanged(x.transpose(2, 3)), expected)
    unexchanged = randomized().train(training)(x.transpose(2, 3))
    assert not torch.allclose(unexchanged, expected), "the two directions have weights of their own"


def test_a_row_is_gated_by_itself_alone() -> None:
    """In eval mode the row gate of y depends on row y; what is scaled lies in row y or column x."""
    module = randomized().double()
    x = torch.randn(1, 16, 5, 7, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, 2, 3].sum().backward()
    reached = x.grad.abs().sum((0, 1)) > 0
    expected = torch.zeros(5, 7, dtype=torch.bool)
    expected[2], expected[:, 3] = True, True
    assert torch.equal(reached, expected)


@pytest.mark.parametrize("training", [False, True])
def test_weights_of_timm_give_timms_output(training: bool) -> None:
    theirs = CoordAttn(32, rd_channels=8, bias=True).train(training)
    randomise_norm(theirs)
    ours = CoordAtt(32).train(training)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 32, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.bn1.running_var, theirs.bn1.running_var)


def test_hidden_width_is_the_papers() -> None:
    assert [CoordAtt(c).conv1.out_channels for c in (16, 256, 320, 1024)] == [8, 8, 10, 32]
    assert CoordAtt(64, hidden_channels=5).conv1.out_channels == 5


def test_bad_arguments_are_named() -> None:
    for kwargs in ({"reduction": 0}, {"hidden_channels": 0}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            CoordAtt(8, **kwargs)
