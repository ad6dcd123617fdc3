"""Swin's window attention on the operator ``window_attention``, for networks of other packages.

A layer that is replaced keeps its parameters, buffers, submodules and their names; only its class
changes, to a subclass of its own with another ``forward``. What is computed is the same: padding,
shift, bias and mask are upstream's. Where the operator does not compute what the layer is asked for
(dropout of the weights, hooks inside of the layer, a graph that is exported), upstream's own
``forward`` runs.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor, nn

from mmattn.ops import is_exporting, window_attention


class _FastLayer:
    """Base class of all replaced layers; the class of upstream follows it in their bases."""

    def __reduce_ex__(self, protocol: Any) -> tuple:
        # The class is made at run time, so copies and pickles name the one that it is made from.
        return _blank, (type(self).__bases__[1],), self.__dict__

    def _upstream(self) -> Any:
        return super()

    def _computes_all(self, attention: Any) -> bool:
        """Whether the operator does all that the layer is asked for."""
        dropout = attention.attn_drop
        return not (
            is_exporting()
            or (dropout.training and dropout.p > 0)
            or any(m._forward_hooks or m._forward_pre_hooks for m in attention.modules())
        )


class _ShiftWindowMSA(_FastLayer):
    """``ShiftWindowMSA`` of mmdet and mmseg, which pads first."""

    w_msa: Any
    drop: Any
    window_size: int
    shift_size: int

    def forward(self, query: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        height, width = hw_shape
        fits = query.dim() == 3 and query.shape[1] == height * width
        if not fits or not self._computes_all(self.w_msa):
            return self._upstream().forward(query, hw_shape)
        window, shift = (self.window_size, self.window_size), (self.shift_size, self.shift_size)
        x = query.unflatten(1, (height, width))
        return self.drop(_attend(self.w_msa, x, window, shift, pad_first=True).flatten(1, 2))


class _SwinTransformerBlock(_FastLayer):
    """``SwinTransformerBlock`` of timm, which rolls first."""

    attn: Any
    window_size: tuple[int, int]
    shift_size: tuple[int, int]

    def _attn(self, x: Tensor) -> Tensor:
        if not self._computes_all(self.attn):
            return self._upstream()._attn(x)
        return _attend(self.attn, x, self.window_size, self.shift_size, pad_first=False)


#: Class of another package -> what it gets, or why it gets nothing.
REPLACEMENTS: dict[str, type | str] = {
    "mmdet.models.backbones.swin.ShiftWindowMSA": _ShiftWindowMSA,
    "mmseg.models.backbones.swin.ShiftWindowMSA": _ShiftWindowMSA,
    "timm.models.swin_transformer.SwinTransformerBlock": _SwinTransformerBlock,
    "timm.models.swin_transformer_v2.SwinTransformerV2Block": (
        "Swin V2 compares queries and keys by their cosine, which the operator does not"
    ),
}


def use_fast_windows(network: nn.Module) -> int:
    """Let the window attention in ``network`` run on our operator, in place.

    Args:
        network: A network with Swin blocks of mmdet, mmseg or timm.

    Returns:
        Number of layers that were replaced; layers that are already are counted.

    Raises:
        ValueError: There are none; the message says why.
    """
    count, reasons = 0, []
    for module in network.modules():
        if isinstance(module, _FastLayer):
            count += 1
            continue
        replacement = REPLACEMENTS.get(f"{type(module).__module__}.{type(module).__qualname__}")
        if isinstance(replacement, str):
            reasons.append(replacement)
        elif replacement is not None:
            module.__class__ = _subclass(type(module))
            count += 1
    if not count:
        reason = reasons[0] if reasons else "it has no Swin block of mmdet, mmseg or timm"
        raise ValueError(f"{type(network).__name__} has no window attention to replace: {reason}.")
    return count


@cache
def _subclass(upstream: type) -> type:
    replacement = REPLACEMENTS[f"{upstream.__module__}.{upstream.__qualname__}"]
    assert isinstance(replacement, type)
    return type(f"Fast{upstream.__name__}", (replacement, upstream), {})


def _blank(upstream: type) -> nn.Module:
    made: Any = _subclass(upstream)
    return made.__new__(made)


def _attend(
    attention: Any, x: Tensor, window: tuple[int, int], shift: tuple[int, int], *, pad_first: bool
) -> Tensor:
    """Projections and attention of a ``WindowMSA`` or ``WindowAttention``, on (N, H, W, C)."""
    tokens = window[0] * window[1]
    bias = attention.relative_position_bias_table[attention.relative_position_index.flatten()]
    bias = bias.unflatten(0, (tokens, tokens)).permute(2, 0, 1)
    pad = None
    if x.shape[1] % window[0] or x.shape[2] % window[1]:
        # Padded positions are zeros in front of the projection, also of one that was replaced.
        pad = attention.qkv(x.new_zeros(1, x.shape[-1]))[0]
    y = window_attention(
        attention.qkv(x), bias, pad, window_size=window, shift=shift, pad_first=pad_first,
        scale=attention.scale,
    )  # fmt: skip
    return attention.proj_drop(attention.proj(y))
