"""Checks of depthwise convolution's arguments."""

from __future__ import annotations

from torch import Tensor

from .._checks import check_floating_point, check_same_device, check_same_dtype, check_tensor

OP = "depthwise_conv2d"


def check_shapes(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Raise ValueError unless the shapes fit and no axis but N is empty.

    What is no tensor is a TypeError.
    """
    for name, tensor in {"x": x, "weight": weight, "bias": bias}.items():
        if tensor is not None or name != "bias":
            check_tensor(OP, name, tensor)
    if x.dim() != 4:
        raise ValueError(f"{OP}: x must have 4 dimensions (N, C, H, W), got shape {tuple(x.shape)}")
    if weight.dim() != 4 or weight.shape[0] != x.shape[1] or weight.shape[1] != 1:
        raise ValueError(
            f"{OP}: weight must have shape (C, 1, kh, kw) with C = {x.shape[1]}, got "
            f"{tuple(weight.shape)}"
        )
    if 0 in weight.shape or 0 in x.shape[2:]:
        raise ValueError(
            f"{OP}: channels, kernel and image must not be empty, got weight "
            f"{tuple(weight.shape)} and x {tuple(x.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (x.shape[1],):
        raise ValueError(f"{OP}: bias must have shape ({x.shape[1]},), got {tuple(bias.shape)}")


def check_dtypes(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Check that all tensors have the same floating point dtype and the same device.

    Raises:
        TypeError: A tensor is not floating point, or the dtypes differ.
        ValueError: The devices differ.
    """
    tensors = {"x": x, "weight": weight, "bias": bias}
    for name, tensor in tensors.items():
        if tensor is not None:
            check_floating_point(OP, name, tensor)
    check_same_dtype(OP, tensors)
    check_same_device(OP, tensors)


def resolve_padding(
    padding: str, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Turn ``"same"`` or ``"valid"`` into numbers.

    Returns:
        Padding on both sides, in pixels, for height and width; and what "same" needs in addition
        at the bottom and on the right for an even kernel (0 or 1 pixel each).

    Raises:
        ValueError: The padding is neither, or it is "same" and the stride is not 1.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        raise ValueError(f"{OP}: padding must be numbers, 'same' or 'valid', got {padding!r}")
    if stride != (1, 1):
        raise ValueError(f"{OP}: padding 'same' needs stride 1, got {stride}")
    vertical, horizontal = dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)
    return (vertical // 2, horizontal // 2), (vertical % 2, horizontal % 2)
