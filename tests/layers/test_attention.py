"""Promise: attention with a bias is torch's, where its products are written out, too."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mmattn.layers.attention import _has_fused_form, attend


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_function_and_gradients_are_torchs(with_bias: bool, turned: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    draws = [torch.randn(3, 2, n, d, dtype=torch.float64, generator=generator) for n, d in
             ((5, 4), (7, 4), (7, 4), (5, 7))]  # fmt: skip
    leaves = [t.mT.contiguous().mT if turned else t for t in draws[:3]]
    leaves = [t.requires_grad_() for t in leaves]
    bias = draws[3][0].requires_grad_() if with_bias else None
    assert _has_fused_form(*leaves, bias) is not (turned or with_bias)
    wanted = [*leaves, *([bias] if with_bias else [])]
    results = []
    for function in (attend, F.scaled_dot_product_attention):
        y = function(*leaves, bias)
        results.append((y, *torch.autograd.grad(y.square().sum(), wanted)))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)
