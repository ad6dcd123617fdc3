"""Checks of neighborhood attention's arguments."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .._checks import (
    as_pair,
    check_floating_point,
    check_same_device,
    check_same_dtype,
    check_tensor,
)
from .._precision import accumulate_dtype

_OP = "neighborhood_attention"
LARGEST_KERNEL = 63  # for the compiled kernel


def check_neighborhood(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int],
    rpb: Tensor | None,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Check all arguments and return kernel size and dilation as pairs.

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ.
        ValueError: Shapes or devices do not agree, or a kernel is even.
    """
    maps = {"query": query, "key": key, "value": value}
    for name, tensor in maps.items():
        check_tensor(_OP, name, tensor)
        check_floating_point(_OP, name, tensor)
        if tensor.dim() != 5 or 0 in tensor.shape[1:]:
            raise ValueError(
                f"{_OP}: {name} must be (N, heads, H, W, d) and not empty, got shape "
                f"{tuple(tensor.shape)}"
            )
        if tensor.shape != query.shape:
            raise ValueError(
                f"{_OP}: {name} must have the shape of query, got {tuple(tensor.shape)} and "
                f"{tuple(query.shape)}"
            )
    check_same_dtype(_OP, maps)
    kernel = as_pair(_OP, "kernel_size", kernel_size, 1)
    if any(k % 2 == 0 or k > LARGEST_KERNEL for k in kernel):
        raise ValueError(
            f"{_OP}: kernel_size must be odd and at most {LARGEST_KERNEL}, got {kernel_size!r}"
        )
    steps = as_pair(_OP, "dilation", dilation, 1)
    if rpb is not None:
        check_floating_point(_OP, "rpb", rpb)
        expected = (query.shape[1], 2 * kernel[0] - 1, 2 * kernel[1] - 1)
        if tuple(rpb.shape) != expected:
            raise ValueError(
                f"{_OP}: rpb must have shape (heads, 2 k - 1, 2 k - 1) = {expected}, got "
                f"{tuple(rpb.shape)}"
            )
        if rpb.dtype not in (query.dtype, accumulate_dtype(query.dtype)):
            raise TypeError(
                f"{_OP}: rpb must be {query.dtype} or {accumulate_dtype(query.dtype)} for query "
                f"of {query.dtype}, got {rpb.dtype}"
            )
    check_same_device(_OP, {**maps, "rpb": rpb})
    return kernel, steps
