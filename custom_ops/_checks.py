"""Checks of arguments that several operators share. ``op`` is the name that messages begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ._precision import accumulate_dtype


def check_image(op: str, x: Tensor, nonempty: Sequence[str] = ("H", "W")) -> None:
    """Check that x is a floating point tensor of shape (N, C, H, W).

    Args:
        op: Name of the operator.
        x: Tensor to check.
        nonempty: Axes that must not have size 0, each one of ``"N"``, ``"C"``, ``"H"``, ``"W"``.

    Raises:
        TypeError: x is no dense tensor, or not floating point.
        ValueError: x is not 4-D, or an axis is empty.
    """
    check_tensor(op, "x", x)
    if x.dim() != 4:
        raise ValueError(f"{op}: x must have 4 dimensions (N, C, H, W), got shape {tuple(x.shape)}")
    check_floating_point(op, "x", x)
    sizes = dict(zip("NCHW", x.shape, strict=True))
    for axis in nonempty:
        if sizes[axis] == 0:
            raise ValueError(f"{op}: {axis} must be at least 1, got shape {tuple(x.shape)}")


def check_tensor(op: str, name: str, tensor: object) -> None:
    """Raise TypeError unless it is a dense tensor."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{op}: {name} must be a tensor, got {type(tensor).__name__}")
    if tensor.layout != torch.strided:
        raise TypeError(f"{op}: {name} must be dense, got {tensor.layout}: use .to_dense()")


def check_floating_point(op: str, name: str, tensor: Tensor) -> None:
    """Raise TypeError unless it is a dense tensor of floating point numbers."""
    check_tensor(op, name, tensor)
    if not tensor.is_floating_point():
        raise TypeError(f"{op}: {name} must be floating point, got {tensor.dtype}")


def check_same_dtype(op: str, tensors: Mapping[str, Tensor | None]) -> None:
    """Raise TypeError unless all tensors have the dtype of the first; None is left out."""
    (first_name, first), *others = _given(tensors)
    for name, tensor in others:
        if tensor.dtype != first.dtype:
            raise TypeError(
                f"{op}: {first_name} and {name} must have the same dtype, got {first.dtype} and "
                f"{tensor.dtype}"
            )


def check_same_device(op: str, tensors: Mapping[str, Tensor | None]) -> None:
    """Raise ValueError unless all tensors are on the device of the first; None is left out."""
    (first_name, first), *others = _given(tensors)
    for name, tensor in others:
        if tensor.device != first.device:
            raise ValueError(
                f"{op}: {first_name} and {name} must be on the same device, got {first.device} "
                f"and {tensor.device}"
            )


def as_pair(op: str, name: str, value: int | Sequence[int], at_least: int) -> tuple[int, int]:
    """Return one number twice or two numbers as they are, for height and width.

    Raises:
        ValueError: There are not one or two whole numbers of at least ``at_least``.
    """
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in pair)
    if len(pair) != 2 or not whole or min(pair) < at_least:
        raise ValueError(
            f"{op}: {name} must be one or two whole numbers of at least {at_least}, got {value!r}"
        )
    return pair


def conv_output_size(
    op: str,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, int]:
    """Return height and width of a convolution's result.

    Raises:
        ValueError: The kernel is larger than the padded image.
    """
    result = []
    for side, length, k, s, p, d in zip("HW", size, kernel, stride, padding, dilation, strict=True):
        span = d * (k - 1) + 1
        if length + 2 * p < span:
            raise ValueError(
                f"{op}: {side} = {length} with padding {p} is smaller than the kernel, which "
                f"spans {span} pixels"
            )
        result.append((length + 2 * p - span) // s + 1)
    return result[0], result[1]


def as_gate(op: str, name: str, gate: Tensor, x: Tensor, shape: Sequence[int], axes: str) -> Tensor:
    """Return a gate for x, checked, contiguous, in the dtype that it is applied in.

    Args:
        op: Name of the operator.
        name: Name of the gate.
        gate: Gate, in the dtype of x or in ``accumulate_dtype`` of it.
        x: Image that is gated. Shape (N, C, H, W).
        shape: Expected shape of the gate.
        axes: Names of the axes of that shape, for instance ``"N, C"``.

    Raises:
        TypeError: The gate is no dense tensor, or has another dtype.
        ValueError: The gate has another shape, or is on another device than x.
    """
    check_tensor(op, name, gate)
    if tuple(gate.shape) != tuple(shape):
        raise ValueError(
            f"{op}: {name} must have shape ({axes}) = {tuple(shape)}, got {tuple(gate.shape)}"
        )
    dtypes = (x.dtype, accumulate_dtype(x.dtype))
    if gate.dtype not in dtypes:
        expected = " or ".join(dict.fromkeys(map(str, dtypes)))
        raise TypeError(f"{op}: {name} must be {expected} for x of {x.dtype}, got {gate.dtype}")
    check_same_device(op, {"x": x, name: gate})
    return gate.to(accumulate_dtype(x.dtype)).contiguous()


def _given(tensors: Mapping[str, Tensor | None]) -> list[tuple[str, Tensor]]:
    return [(name, tensor) for name, tensor in tensors.items() if tensor is not None]
