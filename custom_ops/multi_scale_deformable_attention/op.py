"""``mmattn::multi_scale_deformable_attention``: schema, fake, autograd, FLOP formula, backends."""

from __future__ import annotations

import math
from collections.abc import Hashable

import torch
from torch import Tensor

from .._backends import FLOATS, Compiled
from .._operator import Function, Operator
from .._precision import accumulate_dtype


def _fake(value, sampling_locations, attention_weights, spatial_shapes, level_starts):
    batch, _, heads, channels = value.shape
    return value.new_empty(batch, sampling_locations.shape[1], heads * channels)


def _fake_backward(
    grad, value, sampling_locations, attention_weights, spatial_shapes, level_starts, *needs
):
    inputs = (value, sampling_locations, attention_weights)
    return tuple(t.new_empty(t.shape if need else 0) for t, need in zip(inputs, needs, strict=True))


def _flops(value_shape, locations_shape, weights_shape, *args, **kwargs) -> int:
    # Four corners per point and channel, two operations each; the coordinates' few are left out.
    return 8 * math.prod(weights_shape) * value_shape[3]


def _flops_backward(
    grad_shape, value_shape, locations_shape, weights_shape, shapes, starts, *needs, **kwargs
) -> int:
    products = 8 * math.prod(weights_shape) * value_shape[3]
    return products * (bool(needs[0]) + bool(needs[1] or needs[2]))


def _case(function: str, args: tuple) -> int:
    """Channels per head, on which the choice of a backend depends."""
    return args[0 if function == "forward" else 1].shape[3]


def _cuda_refuses(case: Hashable) -> str | None:
    # A lane holds 16 bytes of channels, and the lanes of a head are a power of two. Not measured on
    # a GPU yet.
    return None if case in (8, 16, 32, 64) else "supports 8, 16, 32 or 64 channels per head"


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    wide = accumulate_dtype(dtype)  # of coordinates and weights
    value = torch.randn(2, 11 * 13 + 5 * 7 + 6, 4, 16, generator=generator)
    locations = 1.2 * torch.rand(2, 37, 4, 3, 4, 2, generator=generator) - 0.1
    weights = torch.randn(2, 37, 4, 12, generator=generator).softmax(-1).view(2, 37, 4, 3, 4)
    return (
        value.to(device, dtype), locations.to(device, wide), weights.to(device, wide),
        [11, 13, 5, 7, 2, 3], [0, 143, 178],
    )  # fmt: skip


_ARGUMENTS = (
    "Tensor value, Tensor sampling_locations, Tensor attention_weights, "
    "SymInt[] spatial_shapes, SymInt[] level_starts"
)

operator = Operator(
    "multi_scale_deformable_attention",
    __name__,
    functions={
        "forward": Function(f"({_ARGUMENTS}) -> Tensor", fake=_fake, flops=_flops),
        "backward": Function(
            f"(Tensor grad, {_ARGUMENTS}, bool need_value, bool need_locations, "
            "bool need_weights) -> (Tensor, Tensor, Tensor)",
            fake=_fake_backward,
            flops=_flops_backward,
        ),
    },
    backends=(
        Compiled("cpp", dtypes=FLOATS),
        # Its gradient of the values adds atomically, in an order that changes from run to run.
        Compiled("cuda", dtypes=FLOATS, refuses=_cuda_refuses, nondeterministic=("backward",)),
    ),
    case=_case,
    example=_example,
)


def _setup_context(ctx, inputs, output) -> None:
    value, sampling_locations, attention_weights, ctx.shapes, ctx.starts = inputs
    ctx.save_for_backward(value, sampling_locations, attention_weights)


def _backward(ctx, grad: Tensor):
    needs = ctx.needs_input_grad[:3]
    grads = torch.ops.mmattn.multi_scale_deformable_attention_backward(
        grad, *ctx.saved_tensors, ctx.shapes, ctx.starts, *needs
    )
    return (*(g if need else None for g, need in zip(grads, needs, strict=True)), None, None)


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
