"""Promise: the convolutional gated linear unit is TransNeXt's channel mixer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.projects.blocks.conv_glu import ConvGLU
from mmattn.testing.mixer import MixerTester


def by_tap(module: ConvGLU, x: Tensor) -> Tensor:
    """The formula, one tap of the convolution at a time."""
    height, width = x.shape[2:]
    hidden = module.fc2.in_features
    both = torch.einsum("oc,nchw->nohw", module.fc1.weight, x) + module.fc1.bias[:, None, None]
    padded = F.pad(both[:, :hidden], (1, 1, 1, 1))
    conv = module.dwconv.dwconv
    gate = conv.bias[:, None, None]
    for row in range(3):
        for column in range(3):
            window = padded[:, :, row : row + height, column : column + width]
            gate = gate + conv.weight[:, 0, row, column, None, None] * window
    gate = gate * 0.5 * (1 + torch.erf(gate / 2**0.5))
    y = torch.einsum("oc,nchw->nohw", module.fc2.weight, gate * both[:, hidden:])
    return y + module.fc2.bias[:, None, None]


class TestConvGLU(MixerTester):
    module = ConvGLU
    in_channels = 8
    heads = None
    state_keys = {
        f"{layer}.{part}"
        for layer in ("fc1", "dwconv.dwconv", "fc2")
        for part in ("weight", "bias")
    }
    parameters = staticmethod(lambda c: int(8 * c / 3) * (2 * c + 2 + 9 + 1 + c) + c)
    reference = staticmethod(by_tap)
    initial = {
        "fc1.weight": 0.02,
        "fc2.weight": 0.02,
        "dwconv.dwconv.weight": (2 / 9) ** 0.5,
        "fc1.bias": "0",
        "dwconv.dwconv.bias": "0",
    }

    def randomize_zero_init(self, module: nn.Module) -> None:
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in module.parameters():
                size = parameter[0].numel() if parameter.dim() > 1 else 10
                parameter.uniform_(-2, 2, generator=generator).div_(size**0.5)


def test_hidden_channels_are_the_authors() -> None:
    assert ConvGLU(32, ratio=4).fc2.in_features == 85
    assert ConvGLU(48, ratio=8).fc2.in_features == 256
    with pytest.raises(ValueError, match=r"ratio must leave a hidden channel, got 0\.1 for 8"):
        ConvGLU(8, ratio=0.1)


def test_one_tap_is_a_gated_linear_unit_at_each_position() -> None:
    module, x = ConvGLU(8).double(), torch.randn(2, 8, 4, 5, dtype=torch.float64)
    conv = module.dwconv.dwconv
    nn.init.zeros_(conv.weight)
    nn.init.ones_(conv.weight[:, :, 1, 1])
    a, b = module.fc1(x.movedim(1, 3)).chunk(2, 3)
    torch.testing.assert_close(module(x), module.fc2(F.gelu(a) * b).movedim(3, 1))
