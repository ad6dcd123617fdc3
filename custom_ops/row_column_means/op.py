"""``mmattn::row_column_means``: schema, fake and autograd, and backends."""

from __future__ import annotations

import torch

from .._backends import FLOATS, Compiled
from .._layout import memory_format
from .._operator import Function, Operator
from .._precision import accumulate_dtype


def _fake(x):
    n, c, height, width = x.shape
    row_means = x.new_empty((n, c, height), dtype=accumulate_dtype(x.dtype))
    return row_means, row_means.new_empty((n, c, width))


def _fake_backward(grad_row_means, grad_column_means, dtype, channels_last):
    layout = memory_format(channels_last)
    size = (*grad_row_means.shape, grad_column_means.shape[2])
    return torch.empty(size, dtype=dtype, device=grad_row_means.device, memory_format=layout)


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(2, 20, 19, 23, generator=generator).to(device, dtype),)


operator = Operator(
    "row_column_means",
    __name__,
    functions={
        "forward": Function("(Tensor x) -> (Tensor, Tensor)", fake=_fake),
        "backward": Function(
            "(Tensor grad_row_means, Tensor grad_column_means, ScalarType dtype, "
            "bool channels_last) -> Tensor",
            fake=_fake_backward,
        ),
    },
    backends=(Compiled("cpp", dtypes=FLOATS),),
    example=_example,
)


def _setup_context(ctx, inputs, output) -> None:
    (x,) = inputs
    ctx.dtype, ctx.channels_last = x.dtype, not x.is_contiguous()


def _backward(ctx, grad_row_means, grad_column_means):
    return torch.ops.mmattn.row_column_means_backward(
        grad_row_means, grad_column_means, ctx.dtype, ctx.channels_last
    )


def _double_backward(ctx, grad):
    """The backward pass is linear, so its transpose is the forward pass."""
    row_means, column_means = torch.ops.mmattn.row_column_means(grad)
    return row_means, column_means, None, None


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
torch.library.register_autograd(operator.qualified_name("backward"), _double_backward)
