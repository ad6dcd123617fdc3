"""The package ``natten``, where it is installed and computes the same: on a GPU, without a bias.

Its newer releases have no relative position bias, and none takes maps smaller than the window.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor


def serves(
    query: Tensor, kernel: Sequence[int], dilation: Sequence[int], bias: Tensor | None
) -> bool:
    """Whether natten computes the attention of maps (N, H, W, heads, d)."""
    return (
        query.is_cuda
        and bias is None
        and query.dtype in (torch.float32, torch.float16, torch.bfloat16)
        and all(
            length >= k * e for length, k, e in zip(query.shape[1:3], kernel, dilation, strict=True)
        )
        and _function() is not None
    )


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    kernel: Sequence[int],
    dilation: Sequence[int],
    scale: float,
) -> Tensor:
    """Return the output (N, H, W, heads, d)."""
    function = _function()
    assert function is not None
    return function(
        query, key, value, kernel_size=tuple(kernel), dilation=tuple(dilation), scale=scale
    )


@cache
def _function() -> Callable[..., Tensor] | None:
    """Return natten's fused function, None where there is none."""
    if importlib.util.find_spec("natten") is None:
        return None
    try:
        return importlib.import_module("natten.functional").na2d
    except (ImportError, AttributeError, OSError):  # built for another torch, or too old
        return None
