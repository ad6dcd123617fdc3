"""``mmattn::neighborhood_attention``: schema, fake, autograd and FLOP formula, and backends."""

from __future__ import annotations

import math

import torch

from .._backends import FLOATS, Compiled
from .._operator import Function, Operator
from .._precision import accumulate_dtype

_ARGUMENTS = (
    "Tensor query, Tensor key, Tensor value, Tensor? bias, int[2] kernel, int[2] dilation, "
    "float scale"
)


def _fake(query, key, value, bias, kernel, dilation, scale):
    return query.new_empty(query.shape)


def _fake_backward(grad, query, key, value, bias, kernel, dilation, scale):
    maps = tuple(query.new_empty(query.shape) for _ in range(3))
    return (*maps, query.new_empty(0) if bias is None else bias.new_empty(bias.shape))


def _flops(query_shape, key_shape, value_shape, bias_shape, kernel, *args, **kwargs) -> int:
    # Two for each multiply-add, as torch counts them: the logits, and the sum of the values.
    return 4 * math.prod(query_shape) * math.prod(kernel)


def _flops_backward(
    grad_shape, query_shape, key_shape, value_shape, bias_shape, kernel, *args, **kwargs
) -> int:
    # The logits once more, then the gradients of weights, values, queries and keys.
    return 10 * math.prod(query_shape) * math.prod(kernel)


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 2, 11, 13, 2, 10, generator=generator).to(device, dtype)
    bias = torch.randn(2, 5, 5, generator=generator).to(device, accumulate_dtype(dtype))
    return *maps.unbind(0), bias, [3, 3], [2, 1], 10**-0.5


operator = Operator(
    "neighborhood_attention",
    __name__,
    functions={
        "forward": Function(f"({_ARGUMENTS}) -> Tensor", fake=_fake, flops=_flops),
        "backward": Function(
            f"(Tensor grad, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor, Tensor)",
            fake=_fake_backward,
            flops=_flops_backward,
        ),
    },
    backends=(Compiled("cpp", dtypes=FLOATS),),
    example=_example,
)


def _setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.kernel, ctx.dilation, ctx.scale = inputs
    ctx.with_bias = tensors[3] is not None
    ctx.save_for_backward(*tensors)


def _backward(ctx, grad):
    *of_maps, of_bias = torch.ops.mmattn.neighborhood_attention_backward(
        grad, *ctx.saved_tensors, ctx.kernel, ctx.dilation, ctx.scale
    )
    return *of_maps, of_bias if ctx.with_bias else None, None, None, None


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
