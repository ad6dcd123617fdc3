"""The product of an image and one gate per channel."""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.ops import apply_gates

# Below, calling the operator costs more than its single pass saves (16 x 128 x 128 values).
_FEW = 2**18


def scale_channels(x: Tensor, gate: Tensor) -> Tensor:
    """Multiply every channel of ``x`` by its gate.

    ``mmattn.ops.apply_gates`` multiplies half precision in float32 and needs one pass for both
    gradients. Where neither is of use, the plain product is faster: in float32 and float64 without
    gradients, or on few values.

    Args:
        x: Shape (N, C, H, W).
        gate: At least float32. Shape (N, C) or (N, C, 1, 1).

    Returns:
        The product, in the dtype and the layout of x. Shape (N, C, H, W).

    Example:
        >>> scale_channels(torch.ones(1, 2, 1, 1), torch.tensor([[0.25, 0.5]])).flatten().tolist()
        [0.25, 0.5]
    """
    if x.dtype == gate.dtype and _is_plain_faster(x, gate):
        return x * (gate if gate.dim() == 4 else gate[:, :, None, None])
    return apply_gates(x, channel=gate if gate.dim() == 2 else gate.flatten(1))


def _is_plain_faster(x: Tensor, gate: Tensor) -> bool:
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False  # there the operator decides for itself
    needs_gradient = torch.is_grad_enabled() and (x.requires_grad or gate.requires_grad)
    return not needs_gradient or x.numel() < _FEW
