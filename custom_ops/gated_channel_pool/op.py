"""``mmattn::gated_channel_pool``: schema, fake and autograd, and backends."""

from __future__ import annotations

from functools import partial

import torch

from .._backends import FLOATS, Compiled
from .._derivatives import differentiate
from .._layout import to_dense
from .._operator import Function, Operator
from .._precision import accumulate_dtype
from . import reference


def _fake(x, gate):
    n, _, height, width = x.shape
    index = gate.new_empty((n, height, width), dtype=torch.int32)
    return gate.new_empty((n, 2, height, width)), index


def _fake_backward(grad, x, gate, index, need_x, need_gate):
    return (
        torch.empty_like(to_dense(x)) if need_x else x.new_empty(0),
        gate.new_empty(gate.shape if need_gate else 0),
    )


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 20, 19, 23, generator=generator).to(device, dtype)
    gate = torch.rand(2, 20, generator=generator)
    return x, gate.to(device, accumulate_dtype(dtype))


operator = Operator(
    "gated_channel_pool",
    __name__,
    functions={
        "forward": Function("(Tensor x, Tensor gate) -> (Tensor, Tensor)", fake=_fake),
        "backward": Function(
            "(Tensor grad, Tensor x, Tensor gate, Tensor index, bool need_x, bool need_gate) -> "
            "(Tensor, Tensor)",
            fake=_fake_backward,
        ),
    },
    backends=(Compiled("cpp", dtypes=FLOATS),),
    example=_example,
)


def _setup_context(ctx, inputs, output) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs, output[1])


def _backward(ctx, grad, _):
    needs = ctx.needs_input_grad
    grads = torch.ops.mmattn.gated_channel_pool_backward(grad, *ctx.saved_tensors, *needs)
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))


def _setup_double_backward(ctx, inputs, output) -> None:
    ctx.set_materialize_grads(False)
    *tensors, ctx.need_x, ctx.need_gate = inputs
    ctx.save_for_backward(*tensors)


def _double_backward(ctx, *grads):
    """Second derivatives, left to torch because they are rare."""
    function = partial(reference.backward, need_x=ctx.need_x, need_gate=ctx.need_gate)
    return (*differentiate(function, ctx.saved_tensors, grads), None, None)


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
torch.library.register_autograd(
    operator.qualified_name("backward"), _double_backward, setup_context=_setup_double_backward
)
