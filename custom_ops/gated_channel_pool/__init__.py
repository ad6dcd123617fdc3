"""Maximum and mean over gated channels at every position, as CBAM's spatial gate needs them."""

from __future__ import annotations

import torch
from torch import Tensor

from .._checks import as_gate, check_image
from .._layout import to_dense
from .._operator import is_exporting
from .._precision import accumulate_dtype
from . import reference
from .op import operator


def gated_channel_pool(x: Tensor, gate: Tensor | None = None) -> Tensor:
    """Scale every channel, then take maximum and mean over the channels.

        y[n, 0, h, w] = max_c gate[n, c] x[n, c, h, w]
        y[n, 1, h, w] = sum_c gate[n, c] x[n, c, h, w] / C

    In plain torch:

        z = x * gate[:, :, None, None]
        y = torch.stack([z.max(1).values, z.mean(1)], dim=1)

    The product z is never stored: x is read once, in either layout, and the backward pass keeps x,
    the gate and the channel of each maximum. The gradient of a maximum goes to the first channel
    that has it, as with ``torch.max``. A position that holds a NaN gives NaN. Products and means
    are float32 for half-precision x (float64 for float64). Exported graphs hold standard
    operators.

    Args:
        x: Image, contiguous or channels-last; other layouts are copied. Shape (N, C, H, W).
        gate: Factor of each channel, float32 or in the dtype of x (float64 for float64); None
            stands for a gate of ones. Shape (N, C).

    Returns:
        Maximum and mean, in this order, float32 (float64 for float64), contiguous.
        Shape (N, 2, H, W).

    Raises:
        TypeError: x is not floating point, or gate has another dtype.
        ValueError: x is not 4-D, gate does not fit, C is 0, or devices differ.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
        >>> gated_channel_pool(x, torch.tensor([[4.0, 1.0, 1.0]])).flatten().tolist()
        [4.0, 3.0]
    """
    check_image("gated_channel_pool", x, nonempty="C")
    if gate is None:
        gate = x.new_ones(x.shape[:2], dtype=accumulate_dtype(x.dtype))
    gate = as_gate("gated_channel_pool", "gate", gate, x, x.shape[:2], "N, C")
    if is_exporting():
        return reference.forward(x, gate)[0]
    x = to_dense(x)
    if torch.compiler.is_compiling() and operator.choose(x.device.type, x.dtype) == "reference":
        # The compiler fuses plain torch with the operations around it.
        return reference.forward(x, gate)[0]
    return torch.ops.mmattn.gated_channel_pool(x, gate)[0]
