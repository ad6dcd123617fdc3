"""The global context block (Cao et al., GCNet, ICCVW 2019, arXiv:1904.11492).

A non-local block whose attention does not depend on the query: one context for all positions.

    context = sum_j softmax_j(W_k F[j]) F[j]              over all positions j
    delta = W2 relu(LN(W1 context))
    F' = F + delta      fusion 'add', the paper's;      F' = F sigmoid(delta)      fusion 'mul'

In plain torch, for 'add'::

    attention = conv_mask(x).flatten(2).softmax(2)  # (N, 1, H W)
    return x + transform((x.flatten(2) * attention).sum(2)[:, :, None, None])

W1 narrows C channels to C / r, r = 16. W2 starts at zero, so a fresh block with 'add' is the
identity, and one with 'mul' halves its input.

Differs from the authors' code: half precision and autocast compute context and delta in float32;
there are at least 8 hidden channels, since the layer norm of a single value is always zero and
that of two values is little more than a sign: neither would train.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from mmattn.layers.channel_gate import scale_channels
from mmattn.layers.checks import require_at_least
from mmattn.layers.precision import run_in_float32
from mmattn.ops import autocast_off
from mmattn.registry import MODELS

_MIN_HIDDEN = 8


@MODELS.register_module()
class GlobalContext(nn.Module):
    """One vector, from attention over all positions, added to every position.

    Loads the weights of mmcv's ``ContextBlock`` and the authors' with attention pooling and one
    fusion, given their hidden width.

    Args:
        in_channels: Channels C of the input.
        reduction: r in the paper; C // r hidden channels, at least 8.
        hidden_channels: Number of hidden channels, in place of ``reduction``.
        fusion: ``'add'`` adds delta to every position, ``'mul'`` scales every channel by the
            sigmoid of delta.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> GlobalContext(32)(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the residual blocks of a ResNet but for the first stage, before the addition"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        reduction: int = 16,
        hidden_channels: int | None = None,
        fusion: Literal["add", "mul"] = "add",
    ):
        super().__init__()
        require_at_least(
            1, in_channels=in_channels, reduction=reduction, hidden_channels=hidden_channels
        )
        if hidden_channels is None:
            hidden_channels = max(in_channels // reduction, _MIN_HIDDEN)
        if fusion not in ("add", "mul"):
            raise ValueError(f"fusion must be 'add' or 'mul', got {fusion!r}")
        self.in_channels = in_channels
        self.fusion = fusion
        self.conv_mask = nn.Conv2d(in_channels, 1, 1)
        transform = nn.Sequential(
            nn.Conv2d(in_channels, hidden_channels, 1),
            nn.LayerNorm([hidden_channels, 1, 1]),
            nn.ReLU(),
            nn.Conv2d(hidden_channels, in_channels, 1),
        )
        # Two names for the same layers: they are mmcv's.
        self.channel_add_conv = transform if fusion == "add" else None
        self.channel_mul_conv = transform if fusion == "mul" else None
        self.init_weights()

    def init_weights(self) -> None:
        """Set the paper's initial state, also after a network has initialised all its layers."""
        nn.init.kaiming_normal_(self.conv_mask.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.conv_mask.bias)
        last = (self.channel_add_conv or self.channel_mul_conv)[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        context = self._context(x, self._attention(x))
        if self.channel_mul_conv is not None:
            gate = run_in_float32(self.channel_mul_conv, context).sigmoid()
            return scale_channels(x, gate)
        delta = run_in_float32(self.channel_add_conv, context)
        return x + (delta if delta.dtype == x.dtype else delta.to(x.dtype))

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return the weights of positions, ``"spatial"``, that sum to 1. Shape (N, 1, H, W)."""
        return {"spatial": self._attention(x).unflatten(2, x.shape[2:])}

    def _attention(self, x: Tensor) -> Tensor:
        """Return the weight of every position. Shape (N, 1, H W), at least float32."""
        # Weights of about 1 / (H W) would be subnormal in float16.
        return run_in_float32(self.conv_mask, x).flatten(2).softmax(-1)

    def _context(self, x: Tensor, attention: Tensor) -> Tensor:
        """Return the weighted mean of all positions. Shape (N, C, 1, 1), at least float32."""
        x = x if x.dtype == attention.dtype else x.to(attention.dtype)
        with autocast_off(x.device.type):
            # Each layout in its own order, so that the gradient has the layout of x.
            if x.stride(1) == 1:
                return (attention @ x.flatten(2).transpose(1, 2)).transpose(1, 2).unsqueeze(3)
            return torch.bmm(x.flatten(2), attention.transpose(1, 2)).unsqueeze(3)

    def extra_repr(self) -> str:
        return f"fusion={self.fusion!r}"
