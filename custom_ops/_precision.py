"""The precision that operators compute in: a dtype for sums, and what autocast does to inputs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def accumulate_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of sums, statistics and gates: float64 for float64, else float32.

    These are few numbers that scale or decide many: rounding a gate to half precision would scale
    a whole feature map wrongly, an error that no later layer averages out.

    Example:
        >>> import torch
        >>> accumulate_dtype(torch.bfloat16), accumulate_dtype(torch.float64)
        (torch.float32, torch.float64)
    """
    return torch.promote_types(dtype, torch.float32)


def autocast_on(device_type: str) -> bool:
    """Return whether autocast is on for a kind of device."""
    if device_type in ("cpu", "cuda"):  # in half the time
        return torch.is_autocast_enabled(device_type)
    # torch raises when it is asked about a device without autocast, such as meta.
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def autocast_off(device_type: str) -> AbstractContextManager:
    """Return a context without autocast, for operators that choose their precision themselves."""
    # Only where autocast is on, so that an exported graph gets no empty autocast region.
    if autocast_on(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def autocast_to_lower(
    x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast a convolution's tensors as autocast does, where it is on: all but float64 ones."""
    if not autocast_on(x.device.type):
        return x, weight, bias
    dtype = torch.get_autocast_dtype(x.device.type)

    def cast(tensor: Tensor) -> Tensor:
        lower = tensor.is_floating_point() and tensor.dtype != torch.float64
        return tensor.to(dtype) if lower else tensor

    return cast(x), cast(weight), None if bias is None else cast(bias)
