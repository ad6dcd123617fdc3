"""Checks of window attention's arguments."""

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

_OP = "window_attention"
LARGEST_WINDOW = 256  # pixels of one side, for the compiled kernel


def check_windows(
    qkv: Tensor,
    bias: Tensor,
    pad: Tensor | None,
    window_size: int | Sequence[int],
    shift: int | Sequence[int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Check all arguments and return window size and shift as pairs.

    Raises:
        TypeError: A tensor is not floating point, or has another dtype than it must.
        ValueError: Shapes or devices do not agree, or the shift is as large as the window.
    """
    check_floating_point(_OP, "qkv", qkv)
    check_floating_point(_OP, "bias", bias)
    tensors = {"qkv": qkv, "bias": bias}
    if pad is not None:
        check_tensor(_OP, "pad", pad)
        check_same_dtype(_OP, {"qkv": qkv, "pad": pad})
        tensors["pad"] = pad
    check_same_device(_OP, tensors)
    window = as_pair(_OP, "window_size", window_size, 1)
    if max(window) > LARGEST_WINDOW:
        raise ValueError(f"{_OP}: window_size must be at most {LARGEST_WINDOW}, got {window}")
    rolled = as_pair(_OP, "shift", shift, 0)
    if any(s >= w for s, w in zip(rolled, window, strict=True)):
        raise ValueError(f"{_OP}: shift {rolled} must be smaller than the window {window}")
    if qkv.dim() != 4 or 0 in qkv.shape[1:]:
        raise ValueError(
            f"{_OP}: qkv must be a map (N, H, W, 3 C) that is not empty, got shape "
            f"{tuple(qkv.shape)}"
        )
    tokens = window[0] * window[1]
    if bias.dim() != 3 or bias.shape[0] == 0 or tuple(bias.shape[1:]) != (tokens, tokens):
        raise ValueError(
            f"{_OP}: bias must be (heads, {tokens}, {tokens}) for windows of {window}, got shape "
            f"{tuple(bias.shape)}"
        )
    if qkv.shape[3] % (3 * bias.shape[0]):
        raise ValueError(
            f"{_OP}: the channels of qkv must be 3 C with C a multiple of the {bias.shape[0]} "
            f"heads of bias, got {qkv.shape[3]}"
        )
    if bias.dtype not in (qkv.dtype, accumulate_dtype(qkv.dtype)):
        raise TypeError(
            f"{_OP}: bias must be {qkv.dtype} or {accumulate_dtype(qkv.dtype)} for qkv of "
            f"{qkv.dtype}, got {bias.dtype}"
        )
    height, width = qkv.shape[1:3]
    if pad is None:
        if height % window[0] or width % window[1]:
            raise ValueError(
                f"{_OP}: a map of {height} x {width} is padded to windows of {window}: give pad, "
                "the queries, keys and values of the padding"
            )
    elif tuple(pad.shape) != (qkv.shape[3],):
        raise ValueError(f"{_OP}: pad must have shape ({qkv.shape[3]},), got {tuple(pad.shape)}")
    return window, rolled
