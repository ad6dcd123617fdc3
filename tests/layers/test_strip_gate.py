"""Promise: plain torch and the operators are the same function of an image and its strips."""

from __future__ import annotations

import pytest
import torch

from mmattn.layers import strip_gate


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_few_values_and_many_are_computed_alike(layout, residual, monkeypatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64, generator=generator)
    results = []
    for few in (0, 10**6):
        monkeypatch.setattr(strip_gate, "_FEW", few)
        leaf = x.contiguous(memory_format=layout).requires_grad_()
        rows, columns = strip_gate.strip_means(leaf)
        gates = rows.sigmoid(), columns.tanh()
        y = strip_gate.scale_strips(leaf, *gates, residual=residual)
        results.append((rows, columns, y, *torch.autograd.grad(y.square().sum(), leaf)))
        assert y.is_contiguous(memory_format=layout)
    for few, many in zip(*results, strict=True):
        torch.testing.assert_close(few, many)
