"""Gating in plain torch: the oracle, also exported and compiled."""

from __future__ import annotations

import math

from torch import Tensor

from .._layout import with_strides_of
from .._precision import accumulate_dtype


def forward(
    x: Tensor,
    channel: Tensor | None,
    row: Tensor | None,
    column: Tensor | None,
    spatial: Tensor | None,
    residual: bool,
) -> Tensor:
    """Return the result; see ``mmattn.ops.apply_gates``."""
    y = x.to(accumulate_dtype(x.dtype))
    for gate in _broadcast(channel, row, column, spatial):
        if gate is not None:
            y = y * gate
    return with_strides_of(x, (y + x if residual else y).to(x.dtype))


def backward(
    grad: Tensor,
    x: Tensor,
    channel: Tensor | None,
    row: Tensor | None,
    column: Tensor | None,
    spatial: Tensor | None,
    residual: bool,
    need_x: bool,
    need_gates: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x and the gates, as empty tensors where not needed or not given."""
    gates = (channel, row, column, spatial)
    grad, image = grad.to(accumulate_dtype(x.dtype)), x.to(accumulate_dtype(x.dtype))
    broadcast = [gate for gate in _broadcast(*gates) if gate is not None]
    grad_gates = [image.new_empty(0) for _ in gates]
    if need_gates:
        product = grad * image
        given = [(i, gate) for i, gate in enumerate(gates) if gate is not None]
        for place, (i, gate) in enumerate(given):
            # The other gates times grad x, summed over the axes that this gate does not have.
            others = math.prod(broadcast[:place] + broadcast[place + 1 :], start=product)
            grad_gates[i] = others.sum(((2, 3), (3,), (2,), (1,))[i]).reshape(gate.shape)
    grad_channel, grad_row, grad_column, grad_spatial = grad_gates
    if not need_x:
        return x.new_empty(0), grad_channel, grad_row, grad_column, grad_spatial
    grad_x = math.prod(broadcast, start=grad)
    grad_x = (grad_x + grad if residual else grad_x).to(x.dtype)
    return with_strides_of(x, grad_x), grad_channel, grad_row, grad_column, grad_spatial


def _broadcast(channel, row, column, spatial) -> tuple[Tensor | None, ...]:
    return (
        channel if channel is None else channel[:, :, None, None],
        row if row is None else row[:, :, :, None],
        column if column is None else column[:, :, None],
        spatial,
    )
