"""PSANet's mask, collect and distribute, against the placement of single numbers."""

from __future__ import annotations

import mmcv.ops
import pytest
import torch
from torch.autograd import gradcheck


@pytest.mark.parametrize("window", [(3, 5), (7, 9), (1, 1), (2, 4)])
@pytest.mark.parametrize("kind", ["collect", "distribute"])
def test_places_each_number_at_its_absolute_position(kind, window):
    height, width = 4, 5
    mask = torch.randn(2, window[0] * window[1], height, width, dtype=torch.float64)
    mask.requires_grad_()
    module = mmcv.ops.PSAMask(kind, window)
    output = module(mask)
    expected = torch.zeros(2, height * width, height, width, dtype=torch.float64)
    for h in range(height):
        for w in range(width):
            for i in range(window[0]):
                for j in range(window[1]):
                    y, x = h + i - (window[0] - 1) // 2, w + j - (window[1] - 1) // 2
                    if not (0 <= y < height and 0 <= x < width):
                        continue
                    number = mask[:, i * window[1] + j, h, w].detach()
                    if kind == "collect":
                        expected[:, y * width + x, h, w] = number
                    else:
                        expected[:, h * width + w, y, x] = number
    assert torch.equal(output, expected)
    assert gradcheck(module, mask, fast_mode=True)


def test_empty_batch():
    mask = torch.zeros(0, 15, 4, 5, requires_grad=True)
    output = mmcv.ops.PSAMask("collect", (3, 5))(mask)
    assert output.shape == (0, 20, 4, 5)
    assert torch.autograd.grad(output.sum(), mask)[0].shape == mask.shape
