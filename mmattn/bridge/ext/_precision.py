"""In which precision the functions of ``mmcv._ext`` compute."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor


def working(tensor: Tensor) -> Tensor:
    """``tensor`` in the type to compute in: half precisions accumulate in float32."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def without_autocast(function: Callable) -> Callable:
    """Run ``function`` outside autocast, which a compiled extension would not notice either.

    mmcv's autograd functions choose the types themselves; autocast would round once more.
    """

    @functools.wraps(function)
    def call(*args, **kwargs):
        tensors = (a for a in (*args, *kwargs.values()) if isinstance(a, Tensor))
        device = next((tensor.device.type for tensor in tensors), "cpu")
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return function(*args, **kwargs)
        return function(*args, **kwargs)

    return call
