"""HiLo attention (Pan, Cai and Zhuang, LITv2, NeurIPS 2022, arXiv:2205.13213).

The heads are split. Those for high frequencies attend within windows of s x s positions; those for
low frequencies attend from every position to the means of all windows. With d channels in a head,

    high:  softmax(q k^T / sqrt(d)) v in each window;                   q, k, v = W_h x
    low:   softmax(q k^T / sqrt(d)) v over windows; q = W_l x;          k, v = W_m mean_window(x)
    y = [P_h high; P_l low]

A share alpha of the heads is low. s = 1 makes all of them low: attention over the whole map. In
plain torch, with windows as rows::

    high = F.scaled_dot_product_attention(q, k, v)               # (N windows, heads, s s, d)
    k, v = kv(F.avg_pool2d(x, s).flatten(2).mT).chunk(2, 2)      # for the low heads

A map that s does not divide gets zeros at the right and at the bottom, before both branches, as in
the authors' networks: in windows at the border, padding takes part in softmax and mean. ``masked``
leaves it out of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least
from mmattn.layers.heads import (
    flat_positions,
    merge_heads,
    resolve_num_heads,
    split_heads,
    to_tokens,
)
from mmattn.layers.initial import init_transformer_layers
from mmattn.layers.windows import from_windows, pad_to_multiple, real_positions, to_windows
from mmattn.ops import accumulate_dtype
from mmattn.registry import MODELS


@MODELS.register_module()
class HiLo(nn.Module):
    """Attention within windows in some heads, to the means of windows in the others.

    Cost grows with (H W / s)^2. The block adds no shortcut; a host does.

    Args:
        in_channels: Channels C of the input.
        num_heads: Number of heads, which divides C; None takes C // 32, at least 1.
        window_size: Side s of a window, in positions; 2 in the authors' third stage, 1 in the
            fourth, which is attention over the whole map.
        alpha: Share of heads for low frequencies; their number is rounded down. 0.9 in the authors'
            released networks.
        qkv_bias: Whether queries, keys and values have a bias.
        padding: What maps get whose height or width s does not divide: ``"zero"``, zeros as in the
            authors' networks, or ``"masked"``, zeros that nothing attends to.

    Raises:
        ValueError: An argument is out of its range, or the heads do not divide C.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> HiLo(64)(torch.ones(2, 64, 5, 7)).shape
        torch.Size([2, 64, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the attention of LITv2's blocks with alpha=0.9: window_size=2 in the third of its four "
        "stages, 1 in the fourth; the first two have no attention"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int | None = None,
        window_size: int = 2,
        alpha: float = 0.5,
        qkv_bias: bool = True,
        padding: Literal["zero", "masked"] = "zero",
    ):
        super().__init__()
        heads = resolve_num_heads(in_channels, num_heads)
        require_at_least(1, window_size=window_size)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, got {alpha}")
        if padding not in ("zero", "masked"):
            raise ValueError(f"padding must be 'zero' or 'masked', got {padding!r}")
        self.num_heads = heads
        self.window_size = window_size
        self.padding = padding
        self.low_heads = heads if window_size == 1 else int(heads * alpha)
        self.high_heads = heads - self.low_heads
        low, high = (in_channels // heads * count for count in (self.low_heads, self.high_heads))
        # The authors' names; a branch without heads has no layers.
        if low:
            self.l_q = nn.Linear(in_channels, low, bias=qkv_bias)
            self.l_kv = nn.Linear(in_channels, 2 * low, bias=qkv_bias)
            self.l_proj = nn.Linear(low, low)
        if high:
            self.h_qkv = nn.Linear(in_channels, 3 * high, bias=qkv_bias)
            self.h_proj = nn.Linear(high, high)
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        linear = [layer for layer in self.children() if isinstance(layer, nn.Linear)]
        init_transformer_layers(*linear)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        x, real = self._padded(x)
        branches = []
        if self.high_heads:
            branches.append(self._high(x, real))
        if self.low_heads:
            branches.append(self._low(x, real))
        y = branches[0] if len(branches) == 1 else torch.cat(branches, 3)  # (N, H, W, C)
        return y[:, :height, :width].permute(0, 3, 1, 2)

    def attention_maps(
        self, x: Tensor, positions: Sequence[Sequence[int]] | None = None
    ) -> dict[str, Tensor]:
        """Return how much some positions attend to every other one, mean of heads.

        The weight of a window's mean is shared by its positions.

        Args:
            x: Feature map. Shape (N, C, H, W).
            positions: Row and column of P positions; None takes the centre alone.

        Returns:
            ``"high"`` and ``"low"``, as far as there are such heads, of shape (N, P, H, W). Maps
            sum to 1, or less where padding takes part.
        """
        n, _, height, width = x.shape
        s, dtype = self.window_size, accumulate_dtype(x.dtype)
        padded, real = self._padded(x)
        rows, columns = padded.shape[2] // s, padded.shape[3] // s
        places = flat_positions(padded, positions or [(height // 2, width // 2)])
        window = places // padded.shape[3] // s * columns + places % padded.shape[3] // s
        maps = {}
        if self.high_heads:
            q, k, _ = self._windows(padded).chunk(3, 3)  # (N, windows, s s, C_h)
            inner = places // padded.shape[3] % s * s + places % padded.shape[3] % s
            q = q[:, window, inner].unflatten(2, (self.high_heads, -1)).to(dtype)
            k = k[:, window].unflatten(3, (self.high_heads, -1)).to(dtype)
            logits = torch.einsum("nphd,npjhd->nphj", q, k) / q.shape[3] ** 0.5
            if real is not None:
                inside = to_windows(real, (s, s))[0, window, None, :, 0]
                logits = logits.masked_fill(~inside, -torch.inf)
            weights = logits.softmax(-1).mean(2)
            full = weights.new_zeros(n, len(places), rows * columns, s * s)
            full[:, torch.arange(len(places)), window] = weights
            full = from_windows(full.flatten(0, 1).unsqueeze(3), (s, s), padded.shape[3])
            maps["high"] = full.squeeze(3).unflatten(0, (n, len(places)))
        if self.low_heads:
            q = split_heads(self.l_q(to_tokens(padded)[:, places]), self.low_heads).to(dtype)
            k = split_heads(self._low_keys_values(padded, real)[0], self.low_heads).to(dtype)
            weights = (q @ k.mT / q.shape[3] ** 0.5).softmax(-1).mean(1)
            weights = weights.unflatten(2, (rows, columns))
            share = 1 / (s * s)
            if real is not None:
                ones = real.squeeze(3).to(dtype)
                share = ones / _over_windows(_sums(ones, s), s)
            maps["low"] = share * _over_windows(weights, s)
        return {name: full[:, :, :height, :width] for name, full in maps.items()}

    def _padded(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pad to whole windows; also return what is real, (1, H', W', 1), where that counts."""
        if self.window_size == 1:
            return x, None
        window = (self.window_size, self.window_size)
        real = None if self.padding == "zero" else real_positions(x, window)
        return pad_to_multiple(x, window), real

    def _windows(self, x: Tensor) -> Tensor:
        """Return queries, keys and values by window. Shape (N, windows, s s, 3 C_h)."""
        window = (self.window_size, self.window_size)
        return to_windows(self.h_qkv(x.permute(0, 2, 3, 1)), window)

    def _high(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Attend within windows: (N, C, H', W') -> (N, H', W', C_h)."""
        s, (n, _, height, width) = self.window_size, x.shape
        qkv = self._windows(x).unflatten(3, (3, self.high_heads, -1))
        q, k, v = qkv.flatten(0, 1).permute(2, 0, 3, 1, 4).unbind(0)  # (N windows, heads, s s, d)
        mask = None
        if real is not None:
            inside = to_windows(real, (s, s)).squeeze(3)  # (1, windows, s s)
            # Padded queries, whose results are cut off, attend to all: no softmax is over nothing.
            mask = inside.unsqueeze(2) | ~inside.unsqueeze(3)
            mask = mask.expand(n, -1, -1, -1).flatten(0, 1).unsqueeze(1)
        out = merge_heads(F.scaled_dot_product_attention(q, k, v, mask))
        windows = (height // s) * (width // s)
        return from_windows(self.h_proj(out).unflatten(0, (n, windows)), (s, s), width)

    def _low(self, x: Tensor, real: Tensor | None) -> Tensor:
        """Attend to means of windows: (N, C, H', W') -> (N, H', W', C_l)."""
        tokens = [self.l_q(to_tokens(x)), *self._low_keys_values(x, real)]
        q, k, v = (split_heads(part, self.low_heads) for part in tokens)
        out = self.l_proj(merge_heads(F.scaled_dot_product_attention(q, k, v)))
        return out.unflatten(1, tuple(x.shape[2:]))

    def _low_keys_values(self, x: Tensor, real: Tensor | None) -> tuple[Tensor, ...]:
        """Return keys and values of the means of windows, each of shape (N, windows, C_l)."""
        s = self.window_size
        means = x if s == 1 else F.avg_pool2d(x, s)
        if real is not None:
            means = means * (s * s / _sums(real.squeeze(3).to(x.dtype), s))  # zeros add nothing
        return self.l_kv(to_tokens(means)).chunk(2, 2)

    def extra_repr(self) -> str:
        return (
            f"window_size={self.window_size}, high_heads={self.high_heads}, "
            f"low_heads={self.low_heads}, padding={self.padding!r}"
        )


def _sums(x: Tensor, s: int) -> Tensor:
    """Replace every window of s x s by its sum: (1, H, W) -> (1, H / s, W / s)."""
    return F.avg_pool2d(x, s) * (s * s)


def _over_windows(x: Tensor, s: int) -> Tensor:
    """Give every position the value of its window: (…, H / s, W / s) -> (…, H, W)."""
    return x.repeat_interleave(s, -2).repeat_interleave(s, -1)
