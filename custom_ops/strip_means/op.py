"""``mmattn::strip_means``: schema, fake and autograd, and who serves what."""

from __future__ import annotations

import torch

from .._backends import Compiled
from .._library import Function, Operator
from .._pictures import exact


def _fake(x):
    n, c, height, width = x.shape
    over_width = x.new_empty((n, c, height), dtype=exact(x.dtype))
    return over_width, over_width.new_empty((n, c, width))


def _fake_backward(grad_over_width, grad_over_height, dtype, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    size = (*grad_over_width.shape, grad_over_height.shape[2])
    return torch.empty(size, dtype=dtype, device=grad_over_width.device, memory_format=layout)


def _example(device: str, dtype: torch.dtype) -> tuple:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(2, 20, 19, 23, generator=generator).to(device, dtype),)


FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

operator = Operator(
    "strip_means",
    __package__,
    functions={
        "forward": Function("(Tensor x) -> (Tensor, Tensor)", fake=_fake),
        "backward": Function(
            "(Tensor grad_over_width, Tensor grad_over_height, ScalarType dtype, "
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


def _backward(ctx, grad_over_width, grad_over_height):
    return torch.ops.mmattn.strip_means_backward(
        grad_over_width, grad_over_height, ctx.dtype, ctx.channels_last
    )


def _double_backward(ctx, grad):
    """The backward pass is linear: what it spread over strips is averaged over them again."""
    over_width, over_height = torch.ops.mmattn.strip_means(grad)
    return over_width, over_height, None, None


torch.library.register_autograd(operator.qualified_name(), _backward, setup_context=_setup_context)
torch.library.register_autograd(operator.qualified_name("backward"), _double_backward)
