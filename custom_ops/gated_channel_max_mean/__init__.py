"""Maximum and mean over gated channels at every position: what CBAM's spatial gate sees."""

from __future__ import annotations

import torch
from torch import Tensor

from .._library import exporting
from .._pictures import as_gate, check_picture, dense, exact
from . import reference
from .op import operator


def gated_channel_max_mean(x: Tensor, gate: Tensor | None = None) -> Tensor:
    """Scale every channel, then take maximum and mean over the channels.

        y[n, 0, h, w] = max_c gate[n, c] x[n, c, h, w]
        y[n, 1, h, w] = sum_c gate[n, c] x[n, c, h, w] / C

    The product is never stored: x is read once, in either layout, and the backward pass keeps x,
    the gate and the channel of each maximum. The gradient of a maximum goes to the first channel
    that has it, as that of ``torch.max`` does. A position with a NaN gives NaN. Products and means
    are float32 for half-precision x (float64 for float64). Exported graphs hold standard
    operators.

    Args:
        x: The picture, contiguous or channels-last; other layouts are copied. Shape (N, C, H, W).
        gate: A factor for each channel, float32 or in the dtype of x (float64 for float64). None
            is a gate of ones. Shape (N, C).

    Returns:
        Maximum and mean, in this order, float32 (float64 for float64), contiguous.
        Shape (N, 2, H, W).

    Raises:
        TypeError: x is not floating point, or gate has another dtype.
        ValueError: x is not 4-D, gate does not fit, C is 0, or devices differ.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
        >>> gated_channel_max_mean(x, torch.tensor([[4.0, 1.0, 1.0]])).flatten().tolist()
        [4.0, 3.0]
    """
    check_picture("gated_channel_max_mean", x, empty="C")
    if gate is None:
        gate = x.new_ones(x.shape[:2], dtype=exact(x.dtype))
    gate = as_gate("gated_channel_max_mean", "gate", gate, x, x.shape[:2], "N, C")
    if exporting():
        return reference.forward(x, gate)[0]
    x = dense(x)
    if torch.compiler.is_compiling() and operator.choose(x.device.type, x.dtype) == "reference":
        return reference.forward(x, gate)[0]  # for the compiler to fuse with what is around
    return torch.ops.mmattn.gated_channel_max_mean(x, gate)[0]
