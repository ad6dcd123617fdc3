"""``mmattn::depthwise_conv2d``: schema, fake, autograd and FLOP formula, and who serves what."""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from .._backends import FLOATS, Compiled, Triton
from .._layout import empty_channels_last
from .._operator import Function, Operator


def output_size(size, kernel, padding, dilation) -> list[int]:
    """Return height and width of the result at stride 1."""
    return [
        s + 2 * p - d * (k - 1) for s, k, p, d in zip(size, kernel, padding, dilation, strict=True)
    ]


def _fake(x, weight, bias, padding, dilation):
    size = output_size(x.shape[2:], weight.shape[2:], padding, dilation)
    return empty_channels_last(x, (*x.shape[:2], *size))


def _fake_backward(grad, x, weight, padding, dilation, need_input, need_weight, need_bias):
    return (
        empty_channels_last(x) if need_input else x.new_empty(0),
        weight.new_empty(weight.shape) if need_weight or need_bias else weight.new_empty(0),
        weight.new_empty(weight.shape[0] if need_bias else 0),
    )


def _flops(x_shape, weight_shape, bias_shape, padding, dilation, *args, **kwargs) -> int:
    # Two for each multiply-add, as torch counts them, zeros of the padding included.
    size = output_size(x_shape[2:], weight_shape[2:], padding, dilation)
    return 2 * x_shape[0] * x_shape[1] * math.prod(size) * math.prod(weight_shape[2:])


def _flops_backward(grad_shape, x_shape, weight_shape, padding, dilation, *needs, **kwargs) -> int:
    products = 2 * math.prod(grad_shape) * math.prod(weight_shape[2:])
    return products * (bool(needs[0]) + bool(needs[1]))


# The choice of a backend depends on kernel, dilation and whether gradients are needed. A plain
# tuple, since torch.compile has to carry it as a constant.
Case = tuple[tuple[int, int], tuple[int, int], bool]


def _case(function: str, args: tuple) -> Case:
    # A caller of the operator has chosen it already (see ``depthwise_conv2d``).
    weight = args[1] if function == "forward" else args[2]
    (kh, kw), (dh, dw) = weight.shape[2:], args[4]
    return (kh, kw), (dh, dw), True


def _cpp_yields(case: Case) -> str | None:
    """Reason to leave a case to torch (oneDNN, channels-last) on a CPU: measured, see ``NOTES``."""
    kernel, dilation, training = case
    taps = math.prod(kernel)
    if training:
        small = taps <= 9 and max(dilation) == 1
        return "torch is as fast for small kernels" if small else None
    # Wide dilated kernels slow oneDNN down; tall ones do not.
    wide = dilation[1] > 1 and dilation[1] * (kernel[1] - 1) + 1 > 13
    return None if wide or taps > 100 else "torch is as fast without gradients"


@lru_cache(maxsize=256)
def torch_serves(kernel: tuple[int, int], dilation: tuple[int, int], training: bool) -> bool:
    """Return whether a case is left to torch on a CPU."""
    return _cpp_yields((kernel, dilation, training)) is not None


NOTES = """\
On a CPU torch's own convolution runs (channels-last) where it is as fast:
  without gradients   kernels of up to 100 taps, unless dilated and over 13 pixels wide
  with gradients      kernels of up to 9 taps that are not dilated
Measured by `python benchmarks/ops.py depthwise_conv2d_choice`, times of torch over ours, 1 thread:
  without gradients   3x3 0.5   7x7 0.9   11x11 1.8   31x31 1.2   5x5 d3 0.9   7x7 d3 11   1x11 d3 7
  with gradients      3x3 0.6   7x7 4     11x11 5     31x31 24    5x5 d3 7     7x7 d3 11   1x11 d3 6
On a GPU nothing was measured yet: dilated kernels of up to 11 x 11 go to Triton, the others to
torch."""


def _triton_refuses(case: Case) -> str | None:
    return "supports kernels of up to 11 x 11" if max(case[0]) > 11 else None


def _triton_yields(case: Case) -> str | None:
    # cuDNN has depthwise kernels of its own, but not for dilated ones. Not measured on a GPU yet.
    return None if max(case[1]) > 1 else "torch has kernels for dilation 1"


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 20, 19, 23, generator=generator)
    weight = torch.randn(20, 1, 7, 7, generator=generator) / 7
    bias = torch.randn(20, generator=generator)
    return (*(t.to(device, dtype) for t in (x, weight, bias)), [9, 9], [3, 3])


operator = Operator(
    "depthwise_conv2d",
    __name__,
    functions={
        "forward": Function(
            "(Tensor x, Tensor weight, Tensor? bias, int[2] padding, int[2] dilation) -> Tensor",
            fake=_fake,
            flops=_flops,
        ),
        "backward": Function(
            "(Tensor grad, Tensor x, Tensor weight, int[2] padding, int[2] dilation, "
            "bool need_input, bool need_weight, bool need_bias) -> (Tensor, Tensor, Tensor)",
            fake=_fake_backward,
            flops=_flops_backward,
        ),
    },
    backends=(
        Compiled("cpp", dtypes=FLOATS, yields=_cpp_yields),
        Triton(dtypes=FLOATS, refuses=_triton_refuses, yields=_triton_yields),
    ),
    case=_case,
    example=_example,
    notes=NOTES,
)


def _setup_context(ctx, inputs, output) -> None:
    x, weight, bias, ctx.padding, ctx.dilation = inputs
    ctx.with_bias = bias is not None
    ctx.save_for_backward(x, weight)


def _backward(ctx, grad):
    x, weight = ctx.saved_tensors
    needs = ctx.needs_input_grad
    need_bias = ctx.with_bias and needs[2]
    grad_x, grad_weight, grad_bias = torch.ops.mmattn.depthwise_conv2d_backward(
        grad, x, weight, ctx.padding, ctx.dilation, needs[0], needs[1], need_bias
    )
    return (
        grad_x if needs[0] else None,
        grad_weight if needs[1] else None,
        grad_bias if need_bias else None,
        None,
        None,
    )


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
