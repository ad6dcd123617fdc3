"""``mmattn::window_attention``: schema, fake, autograd and FLOP formula, and backends."""

from __future__ import annotations

import math

import torch

from .._backends import FLOATS, Compiled
from .._operator import Function, Operator
from .._precision import accumulate_dtype

_ARGUMENTS = (
    "Tensor qkv, Tensor bias, Tensor? pad, int[2] window, int[2] shift, bool pad_first, float scale"
)


def _fake(qkv, bias, pad, window, shift, pad_first, scale):
    return qkv.new_empty((*qkv.shape[:3], qkv.shape[3] // 3))


def _fake_backward(grad, qkv, bias, pad, window, shift, pad_first, scale):
    return (
        qkv.new_empty(qkv.shape),
        bias.new_empty(bias.shape),
        qkv.new_empty(0 if pad is None else pad.shape),
    )


def _pairs(qkv_shape, window) -> int:
    """Return the number of pairs of a query and a key, those of the padding included."""
    n, height, width, _ = qkv_shape
    windows = math.ceil(height / window[0]) * math.ceil(width / window[1])
    return n * windows * math.prod(window) ** 2


def _flops(qkv_shape, bias_shape, pad_shape, window, *args, **kwargs) -> int:
    # Two for each multiply-add, as torch counts them: the logits, and the sum of the values.
    return 4 * _pairs(qkv_shape, window) * (qkv_shape[3] // 3)


def _flops_backward(grad_shape, qkv_shape, bias_shape, pad_shape, window, *args, **kwargs) -> int:
    # The logits once more, then the gradients of weights, values, queries and keys.
    return 10 * _pairs(qkv_shape, window) * (qkv_shape[3] // 3)


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(2, 9, 13, 3 * 20, generator=generator).to(device, dtype)
    bias = torch.randn(2, 28, 28, generator=generator).to(device, accumulate_dtype(dtype))
    pad = torch.randn(3 * 20, generator=generator).to(device, dtype)
    return qkv, bias, pad, [4, 7], [2, 3], True, 10**-0.5


operator = Operator(
    "window_attention",
    __name__,
    functions={
        "forward": Function(f"({_ARGUMENTS}) -> Tensor", fake=_fake, flops=_flops),
        "backward": Function(
            f"(Tensor grad, {_ARGUMENTS}) -> (Tensor, Tensor, Tensor)",
            fake=_fake_backward,
            flops=_flops_backward,
        ),
    },
    backends=(Compiled("cpp", dtypes=FLOATS),),
    example=_example,
)


def _setup_context(ctx, inputs, output) -> None:
    qkv, bias, pad, *ctx.rest = inputs
    ctx.with_pad = pad is not None
    ctx.save_for_backward(qkv, bias, pad)


def _backward(ctx, grad):
    qkv, bias, pad = ctx.saved_tensors
    of_qkv, of_bias, of_pad = torch.ops.mmattn.window_attention_backward(
        grad, qkv, bias, pad, *ctx.rest
    )
    return of_qkv, of_bias, of_pad if ctx.with_pad else None, None, None, None, None


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
