"""``mmattn::global_avg_max_pool``: schema, fake and autograd, and backends."""

from __future__ import annotations

import torch

from .._backends import FLOATS, Compiled
from .._layout import memory_format
from .._operator import Function, Operator
from .._precision import accumulate_dtype


def _fake(x):
    statistic = x.new_empty(x.shape[:2], dtype=accumulate_dtype(x.dtype))
    return (
        statistic,
        torch.empty_like(statistic),
        statistic.new_empty(x.shape[:2], dtype=torch.int64),
    )


def _fake_backward(grad_mean, grad_max, index, size, dtype, channels_last):
    layout = memory_format(channels_last)
    return torch.empty(size, dtype=dtype, device=index.device, memory_format=layout)


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(2, 20, 19, 23, generator=generator).to(device, dtype),)


operator = Operator(
    "global_avg_max_pool",
    __name__,
    functions={
        "forward": Function("(Tensor x) -> (Tensor, Tensor, Tensor)", fake=_fake),
        "backward": Function(
            "(Tensor grad_mean, Tensor grad_max, Tensor index, SymInt[] size, ScalarType dtype, "
            "bool channels_last) -> Tensor",
            fake=_fake_backward,
        ),
    },
    backends=(Compiled("cpp", dtypes=FLOATS),),
    example=_example,
)


def _setup_context(ctx, inputs, output) -> None:
    (x,) = inputs
    # Sizes instead of x, so that the image is not kept for the backward pass.
    ctx.size, ctx.dtype, ctx.channels_last = x.shape, x.dtype, not x.is_contiguous()
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(output[2])


def _backward(ctx, grad_mean, grad_max, _):
    (index,) = ctx.saved_tensors
    return torch.ops.mmattn.global_avg_max_pool_backward(
        grad_mean, grad_max, index, ctx.size, ctx.dtype, ctx.channels_last
    )


def _setup_double_backward(ctx, inputs, output) -> None:
    ctx.save_for_backward(inputs[2])


def _double_backward(ctx, grad):
    """The backward pass is linear; its transpose averages, and reads where the maximum was."""
    (index,) = ctx.saved_tensors
    grad = grad.to(accumulate_dtype(grad.dtype))
    at_maximum = grad.flatten(2).gather(2, index[:, :, None]).squeeze(2)
    return grad.mean((2, 3)), at_maximum, None, None, None, None


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
torch.library.register_autograd(
    operator.qualified_name("backward"), _double_backward, setup_context=_setup_double_backward
)
