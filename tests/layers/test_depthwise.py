"""Promise: the layer is ``nn.Conv2d`` with one kernel per channel, under the same names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmattn.layers.depthwise import DepthwiseConv2d

CASES = [
    ((3, 3), 1, 1),
    ((1, 11), 1, 3),
    ((7, 1), 1, 3),
    ((5, 5), 2, 1),
    ((4, 4), 1, 1),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")  # torch's
@pytest.mark.parametrize(("kernel", "stride", "dilation"), CASES)
@pytest.mark.parametrize("bias", [True, False])
def test_function_and_gradients_are_those_of_conv2d(kernel, stride, dilation, bias) -> None:
    torch.manual_seed(0)
    padding = "same" if stride == 1 else 2
    ours = DepthwiseConv2d(
        6, kernel, stride=stride, padding=padding, dilation=dilation, bias=bias
    ).double()
    theirs = nn.Conv2d(6, 6, kernel, stride, padding, dilation, groups=6, bias=bias).double()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 6, 9, 13, dtype=torch.float64)
    grads = []
    for layer in (ours, theirs):
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        (y**2).sum().backward()
        grads.append([y.detach(), leaf.grad, *(p.grad for p in layer.parameters())])
    for got, expected in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected)


def test_fresh_weights_are_those_of_conv2d() -> None:
    torch.manual_seed(0)
    ours = DepthwiseConv2d(6, 5)
    torch.manual_seed(0)
    theirs = nn.Conv2d(6, 6, 5, padding="same", groups=6)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
