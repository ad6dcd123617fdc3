"""``mmattn::criss_cross``: schema, fake, autograd and FLOP formula, and backends."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._backends import FLOATS, Compiled, Triton
from .._layout import empty_channels_last
from .._operator import Function, Operator
from .._precision import accumulate_dtype
from . import reference

LARGEST_TRITON_QUERY = 256


def _fake(query, key, value):
    lse = value.new_empty((value.shape[0], *value.shape[2:]), dtype=accumulate_dtype(value.dtype))
    return empty_channels_last(value), lse


def _fake_backward(grad, grad_lse, query, key, value, out, lse):
    return tuple(empty_channels_last(t) for t in (query, key, value))


def _pairs(shape) -> int:
    """Return the number of logits; a position is counted in its row and in its column."""
    n, _, height, width = shape
    return n * height * width * (height + width)


def _flops(query_shape, key_shape, value_shape, *args, **kwargs) -> int:
    # Two for each multiply-add, as torch counts them: the logits, and the sum of the values.
    return 2 * _pairs(query_shape) * (query_shape[1] + value_shape[1])


def _flops_backward(grad_shape, grad_lse_shape, query_shape, *args, **kwargs) -> int:
    # The logits once more, then the gradients of weights, values, queries and keys.
    return 2 * _pairs(query_shape) * (3 * query_shape[1] + 2 * grad_shape[1])


def _case(function: str, args: tuple) -> int:
    """Channels of the query, on which the choice of a backend depends."""
    return args[0 if function == "forward" else 2].shape[1]


def _triton_refuses(case: int) -> str | None:
    if case <= LARGEST_TRITON_QUERY:
        return None
    return f"supports queries of up to {LARGEST_TRITON_QUERY} channels"


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    draw = lambda c: torch.randn(2, c, 19, 23, generator=generator).to(device, dtype)  # noqa: E731
    return draw(6) / math.sqrt(6), draw(6), draw(20)


operator = Operator(
    "criss_cross",
    __name__,
    functions={
        "forward": Function(
            "(Tensor query, Tensor key, Tensor value) -> (Tensor, Tensor)",
            fake=_fake,
            flops=_flops,
        ),
        "backward": Function(
            "(Tensor grad, Tensor? grad_lse, Tensor query, Tensor key, Tensor value, Tensor out, "
            "Tensor lse) -> (Tensor, Tensor, Tensor)",
            fake=_fake_backward,
            flops=_flops_backward,
        ),
    },
    backends=(
        Compiled("cpp", dtypes=FLOATS),
        Triton(dtypes=(torch.float32, torch.bfloat16, torch.float16), refuses=_triton_refuses),
    ),
    case=_case,
    example=_example,
)


def _setup_context(ctx, inputs, output) -> None:
    ctx.set_materialize_grads(False)  # most callers use the output alone
    ctx.save_for_backward(*inputs, *output)


def _backward(ctx, grad, grad_lse):
    query, key, value, out, lse = ctx.saved_tensors
    if grad is None:
        if grad_lse is None:
            return None, None, None
        grad = torch.zeros_like(out)
    return torch.ops.mmattn.criss_cross_backward(grad, grad_lse, query, key, value, out, lse)


def _setup_double_backward(ctx, inputs, output) -> None:
    ctx.set_materialize_grads(False)
    grad, grad_lse, query, key, value, _, _ = inputs
    ctx.save_for_backward(grad, grad_lse, query, key, value)


def _double_backward(ctx, *grads):
    """Second derivatives, by differentiating the reference twice: they are rare.

    Output and log-sum-exp are functions of query, key and value there, and get no gradient.
    """
    create_graph = torch.is_grad_enabled()
    grad, grad_lse, *attended = ctx.saved_tensors
    dtype = accumulate_dtype(grad.dtype)
    with torch.enable_grad():
        grad, *attended = (_leaf(t) for t in (grad, *attended))
        out, lse = reference.attend(*(t.to(dtype) for t in attended))
        inputs, outputs, given = [grad, *attended], [out.to(grad.dtype)], [grad]
        if grad_lse is not None:
            grad_lse = _leaf(grad_lse)
            inputs, outputs, given = [grad, grad_lse, *attended], [*outputs, lse], [grad, grad_lse]
        first = torch.autograd.grad(outputs, attended, given, create_graph=True)
        used = [(f, g) for f, g in zip(first, grads, strict=True) if g is not None]
        if not used:
            return (None,) * 7
        second = torch.autograd.grad(
            [f for f, _ in used], inputs, [g for _, g in used],
            create_graph=create_graph, allow_unused=True,
        )  # fmt: skip
    if grad_lse is None:
        second = (second[0], None, *second[1:])
    return (*second, None, None)


def _leaf(tensor: Tensor) -> Tensor:
    # A view, so that what is computed from it is not mixed up with the graph that led to it.
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
torch.library.register_autograd(
    operator.qualified_name("backward"), _double_backward, setup_context=_setup_double_backward
)
