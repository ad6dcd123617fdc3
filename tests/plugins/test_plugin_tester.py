"""Promise: the tester of blocks tells gradients that are zero by mathematics from lost ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmattn.testing.plugin import PluginTester


class Pooling(nn.Module):
    """Add the mean under a softmax, whose logits have a bias that nothing depends on."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.logits = nn.Conv2d(in_channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.logits(x).flatten(2).softmax(-1).unflatten(2, x.shape[2:])
        return x + (x * weights).sum((2, 3), keepdim=True)


def check(*names: str, module: type[nn.Module] = Pooling, in_channels: int = 16) -> None:
    tester = PluginTester()
    tester.module, tester.in_channels = module, in_channels
    tester.parameters_without_gradient = set(names)
    tester.test_gradient_reaches_every_parameter_and_the_input()


@pytest.mark.parametrize("channels", [3, 16, 64])
def test_zero_up_to_rounding_is_declared(channels: int) -> None:
    check("logits.bias", in_channels=channels)
    with pytest.raises(AssertionError, match=r"logits\.bias is zero.*parameters_without_gradient"):
        check(in_channels=channels)


def test_a_wrong_declaration_is_found() -> None:
    with pytest.raises(AssertionError, match=r"logits\.weight is declared to have no gradient"):
        check("logits.bias", "logits.weight")
    with pytest.raises(AssertionError, match=r"no such parameters: {'logits\.offset'}"):
        check("logits.bias", "logits.offset")


def test_a_lost_gradient_is_found() -> None:
    class Detached(Pooling):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0 * self.logits.bias.sum() + torch.zeros_like(x)

    class Unused(Pooling):
        def __init__(self, in_channels: int):
            super().__init__(in_channels)
            self.spare = nn.Parameter(torch.ones(1))

    with pytest.raises(AssertionError, match=r"logits\.bias is zero"):
        check(module=Detached)
    with pytest.raises(AssertionError, match="no gradient for spare"):
        check("logits.bias", module=Unused)
