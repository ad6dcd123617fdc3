"""Gating in plain torch: the oracle, and what is exported and compiled."""

from __future__ import annotations

import math

from torch import Tensor

from .._pictures import exact, in_layout


def forward(
    x: Tensor,
    channel: Tensor | None,
    row: Tensor | None,
    column: Tensor | None,
    spatial: Tensor | None,
    residual: bool,
) -> Tensor:
    """See ``mmattn.ops.apply_gates``."""
    y = x.to(exact(x.dtype))
    for gate in _broadcast(channel, row, column, spatial):
        if gate is not None:
            y = y * gate
    return in_layout(x, (y + x if residual else y).to(x.dtype))


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
    """Gradients of x and the gates; one that is not needed, or not there, is an empty tensor."""
    gates = (channel, row, column, spatial)
    grad, picture = grad.to(exact(x.dtype)), x.to(exact(x.dtype))
    broadcast = [gate for gate in _broadcast(*gates) if gate is not None]
    grad_gates = [picture.new_empty(0)] * 4
    if need_gates:
        product = grad * picture
        given = [i for i, gate in enumerate(gates) if gate is not None]
        for place, i in enumerate(given):
            others = math.prod(broadcast[:place] + broadcast[place + 1 :], start=product)
            kept = others.sum(((2, 3), (3,), (2,), (1,))[i])
            grad_gates[i] = kept.reshape(gates[i].shape)
    if not need_x:
        return x.new_empty(0), *grad_gates
    grad_x = math.prod(broadcast, start=grad)
    grad_x = (grad_x + grad if residual else grad_x).to(x.dtype)
    return in_layout(x, grad_x), *grad_gates


def _broadcast(channel, row, column, spatial) -> tuple[Tensor | None, ...]:
    return (
        channel if channel is None else channel[:, :, None, None],
        row if row is None else row[:, :, :, None],
        column if column is None else column[:, :, None],
        spatial,
    )
