"""Small modules in float32, whatever precision the network around them runs in.

An attention gate is a few numbers that scale a whole feature map: computing it in half precision
saves nothing and rounds every channel alike, an error that no later layer averages out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn.ops import accumulate_dtype, autocast_off, autocast_on

_WIDE = (torch.float32, torch.float64)


def run_in_float32(module: nn.Module, x: Tensor) -> Tensor:
    """``module(x)`` in float32 (float64 stays), outside autocast, also if the weights are half.

    Args:
        module: Any module. Running statistics that it updates in training are kept, rounded to the
            precision that they are stored in.
        x: Any shape.

    Returns:
        The output, float32 or float64; casting it back is the caller's choice.

    Example:
        >>> import torch
        >>> run_in_float32(torch.nn.Conv2d(4, 2, 1).half(), torch.ones(1, 4, 3, 3)).dtype
        torch.float32
    """
    dtype = x.dtype
    if dtype not in _WIDE:
        dtype = accumulate_dtype(dtype)
        x = x.to(dtype)
    elif not autocast_on(x.device.type) and _is_all(module, dtype):  # in no time
        return module(x)
    with autocast_off(x.device.type):
        if _is_all(module, dtype):  # in a fraction of the time below
            return module(x)
        stored = {
            name: tensor
            for name, tensor in (*module.named_parameters(), *module.named_buffers())
            if tensor.is_floating_point() and tensor.dtype != dtype
        }
        raised = {name: tensor.to(dtype) for name, tensor in stored.items()}
        y = torch.func.functional_call(module, raised, (x,))
    if module.training:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                if name in raised:
                    buffer.copy_(raised[name])
    return y


def _is_all(module: nn.Module, dtype: torch.dtype) -> bool:
    """Return whether every floating-point weight and statistic of ``module`` has ``dtype``."""
    # Plain loops: a generator over `modules()` takes half as long as a small convolution.
    for tensor in module._parameters.values():
        if tensor is not None and tensor.dtype is not dtype and tensor.is_floating_point():
            return False
    if module._buffers:
        for tensor in module._buffers.values():
            if tensor is not None and tensor.dtype is not dtype and tensor.is_floating_point():
                return False
    if module._modules:
        for part in module._modules.values():
            if part is not None and not _is_all(part, dtype):
                return False
    return True
