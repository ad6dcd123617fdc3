"""``mmattn::apply_gates``: schema, fake and autograd, and backends."""

from __future__ import annotations

import torch

from .._backends import FLOATS, Compiled
from .._derivatives import differentiate
from .._layout import to_dense
from .._operator import Function, Operator
from .._precision import accumulate_dtype
from . import reference


def _fake(x, channel, row, column, spatial, residual):
    return torch.empty_like(to_dense(x))


def _fake_backward(grad, x, channel, row, column, spatial, residual, need_x, need_gates):
    gates = (channel, row, column, spatial)
    none = x.new_empty(0, dtype=accumulate_dtype(x.dtype))
    return (
        torch.empty_like(to_dense(x)) if need_x else x.new_empty(0),
        *(gate.new_empty(gate.shape) if gate is not None and need_gates else none.clone()
          for gate in gates),
    )  # fmt: skip


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 20, 19, 23, generator=generator).to(device, dtype)
    shapes = ((2, 20), (2, 20, 19), (2, 20, 23), (2, 1, 19, 23))
    gates = (torch.rand(shape, generator=generator) for shape in shapes)
    return x, *(gate.to(device, accumulate_dtype(dtype)) for gate in gates), True


_ARGUMENTS = (
    "Tensor x, Tensor? channel, Tensor? row, Tensor? column, Tensor? spatial, bool residual"
)

operator = Operator(
    "apply_gates",
    __name__,
    functions={
        "forward": Function(f"({_ARGUMENTS}) -> Tensor", fake=_fake),
        "backward": Function(
            f"(Tensor grad, {_ARGUMENTS}, bool need_x, bool need_gates) -> "
            "(Tensor, Tensor, Tensor, Tensor, Tensor)",
            fake=_fake_backward,
        ),
    },
    backends=(Compiled("cpp", dtypes=FLOATS),),
    example=_example,
)


def _setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.residual = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, grad):
    needs = ctx.needs_input_grad[:5]
    grads = torch.ops.mmattn.apply_gates_backward(
        grad, *ctx.saved_tensors, ctx.residual, needs[0], any(needs[1:])
    )
    return *(g if need else None for g, need in zip(grads, needs, strict=True)), None


def _setup_double_backward(ctx, inputs, output) -> None:
    ctx.set_materialize_grads(False)
    *tensors, ctx.residual, ctx.need_x, ctx.need_gates = inputs
    ctx.save_for_backward(*tensors)


def _double_backward(ctx, *grads):
    """Second derivatives, left to torch because they are rare."""

    def function(grad, x, channel, row, column, spatial):
        gates = (channel, row, column, spatial)
        return reference.backward(grad, x, *gates, ctx.residual, ctx.need_x, ctx.need_gates)

    return *differentiate(function, ctx.saved_tensors, grads), None, None, None


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
torch.library.register_autograd(
    operator.qualified_name("backward"), _double_backward, setup_context=_setup_double_backward
)
