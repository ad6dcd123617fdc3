"""Promise: the plain product and the operator are one function, whichever is chosen."""

from __future__ import annotations

import pytest
import torch

from mmattn.layers import channel_gate
from mmattn.layers.channel_gate import scale_channels
from mmattn.ops import apply_gates


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("plain", [True, False])
def test_values_gradients_and_layout_are_the_operators(
    layout: torch.memory_format, dtype: torch.dtype, plain: bool, monkeypatch
) -> None:
    monkeypatch.setattr(channel_gate, "_FEW", 10**9 if plain else 0)
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6, 7, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    gate = torch.rand(2, 5, dtype=torch.promote_types(dtype, torch.float32), requires_grad=True)
    grad = torch.randn_like(x)
    y, expected = scale_channels(x, gate), apply_gates(x, channel=gate)
    assert y.stride() == expected.stride()
    with torch.no_grad():
        assert torch.equal(scale_channels(x, gate), expected)
    assert torch.equal(y, expected)
    found, wanted = (torch.autograd.grad(out, (x, gate), grad) for out in (y, expected))
    for ours, theirs in zip(found, wanted, strict=True):
        # A sum over 42 values in two orders.
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
