"""``mmattn::modulated_deform_conv2d``: schema, fake, autograd and FLOP formula, backends."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .._backends import FLOATS, Compiled, Triton
from .._layout import memory_format
from .._operator import Function, Operator
from .._precision import accumulate_dtype


def _fake(x, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups, last):
    size = (x.shape[0], weight.shape[0], *offset.shape[2:])
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format(last))


def _fake_backward(
    grad, x, offset, mask, weight, stride, padding, dilation, groups, deform_groups, last,
    need_x, need_offset, need_weight, need_bias,
):  # fmt: skip
    shape = x.shape if need_x else (0,)
    layout = memory_format(last and need_x)
    return (
        torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout),
        offset.new_empty(offset.shape if need_offset else 0),
        offset.new_empty(mask.shape if need_offset and mask is not None else 0),
        weight.new_empty(weight.shape if need_weight else 0),
        weight.new_empty(weight.shape[0] if need_bias else 0),
    )


def _products(offset_shape, weight_shape) -> int:
    return 2 * offset_shape[0] * math.prod(offset_shape[2:]) * math.prod(weight_shape)


def _flops(x_shape, offset_shape, mask_shape, weight_shape, *args, **kwargs) -> int:
    # Two for each multiply-add of the convolution; bilinear reading adds about one in a hundred.
    return _products(offset_shape, weight_shape)


def _flops_backward(
    grad_shape, x_shape, offset_shape, mask_shape, weight_shape, stride, padding, dilation, groups,
    deform_groups, last, need_x, need_offset, need_weight, *args, **kwargs,
) -> int:  # fmt: skip
    products = (need_x or need_offset) + need_weight
    return int(products) * _products(offset_shape, weight_shape)


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    x, weight, bias = draw(2, 20, 13, 17), draw(24, 10, 3, 2) / 8, draw(24)
    offset, mask = 2 * draw(2, 24, 7, 18), draw(2, 12, 7, 18).sigmoid()
    x, weight, bias = (t.to(device, dtype) for t in (x, weight, bias))
    points = accumulate_dtype(dtype)  # of coordinates
    offset, mask = offset.to(device, points), mask.to(device, points)
    return (x, offset, mask, weight, bias, [2, 1], [1, 1], [1, 1], 2, 2, False)


operator = Operator(
    "modulated_deform_conv2d",
    __name__,
    functions={
        "forward": Function(
            "(Tensor x, Tensor offset, Tensor? mask, Tensor weight, Tensor? bias, int[2] stride, "
            "int[2] padding, int[2] dilation, int groups, int deform_groups, bool channels_last) "
            "-> Tensor",
            fake=_fake,
            flops=_flops,
        ),
        "backward": Function(
            "(Tensor grad, Tensor x, Tensor offset, Tensor? mask, Tensor weight, int[2] stride, "
            "int[2] padding, int[2] dilation, int groups, int deform_groups, bool channels_last, "
            "bool need_x, bool need_offset, bool need_weight, bool need_bias) "
            "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
            fake=_fake_backward,
            flops=_flops_backward,
        ),
    },
    backends=(
        Compiled("cpp", dtypes=FLOATS),
        Triton(dtypes=FLOATS, nondeterministic=("backward",)),
    ),
    example=_example,
)


def _setup_context(ctx, inputs, output) -> None:
    x, offset, mask, weight, bias, *ctx.geometry = inputs
    ctx.with_bias = bias is not None
    ctx.save_for_backward(x, offset, mask, weight)


def _backward(ctx, grad):
    x, offset, mask, weight = ctx.saved_tensors
    needs: list[bool] = list(ctx.needs_input_grad[:5])
    need_mask, need_bias = mask is not None and needs[2], ctx.with_bias and needs[4]
    grads: tuple[Tensor, ...] = torch.ops.mmattn.modulated_deform_conv2d_backward(
        grad, x, offset, mask, weight, *ctx.geometry, needs[0], needs[1] or need_mask, needs[3],
        need_bias,
    )  # fmt: skip
    wanted = (needs[0], needs[1], need_mask, needs[3], need_bias)
    return (*(g if want else None for g, want in zip(grads, wanted, strict=True)), *[None] * 6)


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
