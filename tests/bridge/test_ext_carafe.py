"""CARAFE of mmcv, the fast and the naive function, against the sum over each neighbourhood."""

from __future__ import annotations

import functools

import mmcv.ops
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck as _gradcheck

gradcheck = functools.partial(_gradcheck, fast_mode=True)
FUNCTIONS = ["carafe", "carafe_naive"]


def _inputs(kernel: int, groups: int, scale: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    features = torch.randn(batch, 4, 3, 5, dtype=torch.float64)
    masks = torch.randn(batch, groups * kernel**2, 3 * scale, 5 * scale, dtype=torch.float64)
    return features.requires_grad_(), masks.requires_grad_()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("kernel", "groups", "scale"), [(3, 2, 2), (5, 1, 2), (1, 4, 3)])
def test_reassembles_the_neighbourhood(name, kernel, groups, scale):
    features, masks = _inputs(kernel, groups, scale)
    function = getattr(mmcv.ops, name)
    output = function(features, masks, kernel, groups, scale)
    expected = torch.zeros_like(output)
    for n, c, y, x in torch.cartesian_prod(*map(torch.arange, expected.shape)).tolist():
        group = c // (4 // groups)
        for i in range(kernel):
            for j in range(kernel):
                row, column = y // scale + i - kernel // 2, x // scale + j - kernel // 2
                if 0 <= row < 3 and 0 <= column < 5:
                    weight = masks[n, (group * kernel + i) * kernel + j, y, x]
                    expected[n, c, y, x] += (weight * features[n, c, row, column]).item()
    torch.testing.assert_close(output, expected)
    assert gradcheck(lambda f, m: function(f, m, kernel, groups, scale), (features, masks))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_empty_batch(name):
    inputs = _inputs(3, 2, 2, batch=0)
    output = getattr(mmcv.ops, name)(*inputs, 3, 2, 2)
    assert output.shape == (0, 4, 6, 10)
    assert torch.autograd.grad(output.sum(), inputs)[0].shape == inputs[0].shape


def test_modules_train():
    image = torch.randn(2, 4, 3, 5)
    pack = mmcv.ops.CARAFEPack(4, 2, up_kernel=3, up_group=2)
    output = pack(image)
    # The predicted weights are softmaxed, so a constant image stays constant inside.
    torch.testing.assert_close(
        pack(torch.ones(1, 4, 6, 6))[:, :, 2:-2, 2:-2], torch.ones(1, 4, 8, 8)
    )
    output.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in pack.parameters())
    features, masks = _inputs(3, 2, 2)
    torch.testing.assert_close(
        mmcv.ops.CARAFE(3, 2, 2)(features, masks), mmcv.ops.CARAFENaive(3, 2, 2)(features, masks)
    )


def test_autocast_does_not_reach_the_op():
    features, masks = (tensor.float() for tensor in _inputs(3, 2, 2))
    with torch.autocast("cpu", torch.bfloat16):
        inside = mmcv.ops.carafe(features, masks, 3, 2, 2)
    assert torch.equal(inside, mmcv.ops.carafe(features, masks, 3, 2, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precisions_round_once(dtype):
    features, masks = (tensor.detach().to(dtype) for tensor in _inputs(3, 2, 2))
    expected = mmcv.ops.carafe(features.float(), masks.float(), 3, 2, 2).to(dtype)
    assert torch.equal(mmcv.ops.carafe(features, masks, 3, 2, 2), expected)
