"""ContMix, the block of OverLoCK (Lou and Yu, CVPR 2025, arXiv:2502.20087).

A depthwise convolution whose kernels differ by position and see the whole map: how well a position
matches 7 x 7 means of the map, 49 numbers for each group of channels, is mapped linearly to the
logits of two kernels, k' x k' and k x k, each for half of the channels. With G = 2 heads groups,
n = LN(x0) and BN(W .) written as W:

    x0 = x + DW3x3(x);    q = W_q n (C / G)^-1/2;    key = W_k means_7x7(n);    v = W_v n
    F[g, p, l] = sum over group g's channels of q_p key_l                        l = 1, …, 49
    [logits', logits] = W_p F + b;    w = softmax(logits + relative biases) over a window's cells
    y_p = sum_cells w[p, cell] v[cell];    y = SE(W_f [y'; y] + BN(DW_k(n)))
    x1 = x0 + W_o BN(silu(W_g n) y)

Windows lie around p and are moved inwards at the borders. DW_k is a sum of depthwise convolutions
of several dilations in training; ``mmattn.layers.fuse`` makes it one. With ``mlp_ratio`` r follows

    x2 = x1 + DW3x3(x1);    out = x2 + W2 GRN(u + DW3x3(u)),    u = gelu(W1 LN(x2)), r C channels
    GRN(u) = (gamma G_c / mean_c G_c + 1) u + beta;    G_c the length of channel c over positions

A map with a side below k is resized (bilinear, without aligned corners) so that this side is k; its
y goes back by adaptive average pooling.

Differs from the authors' code: W_p is multiplied by the 49 keys of an image first, which leaves
fewer products and the same logits; the longer side of a resized map is the exact floor, where
theirs may be one less by rounding; logits and softmax are float32 at least.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.batch_norm import LenientBatchNorm2d
from mmattn.layers.checks import require_at_least, require_odd
from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.dynamic_window import relative_biases, sum_windows, window_starts
from mmattn.layers.folding import affine_of, fold_after
from mmattn.layers.heads import flat_positions
from mmattn.layers.layer_norm import LayerNorm2d
from mmattn.layers.pooling import adaptive_avg_pool2d, cell_weights
from mmattn.ops import accumulate_dtype, autocast_off, is_exporting
from mmattn.registry import MODELS

_CELLS = 7  # side of the grid of means
#: Side of the kernel of DW_k -> (size, dilation) of what is added to it in training.
_BRANCHES = {
    17: ((5, 1), (7, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
    15: ((5, 1), (7, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
    13: ((5, 1), (7, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
    11: ((5, 1), (7, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
    9: ((5, 1), (7, 1), (5, 2), (3, 3), (3, 4)),
    7: ((5, 1), (3, 1), (3, 2), (3, 3)),
    5: ((3, 1), (3, 2)),
}


@MODELS.register_module()
class ContMix(nn.Module):
    """Kernels of each position's own, computed from how it matches means of the whole map.

    The shortcuts are inside. Loads the weights of the authors' stand-alone block.

    Args:
        in_channels: Channels C of the input, a multiple of 4 ``num_heads``.
        num_heads: Half the number of groups, which have kernels of their own.
        kernel_size: k, odd, from 5 to 17; 17, 15, 13 and 7 in the authors' stages.
        small_kernel_size: k', odd, at most k.
        mlp_ratio: r, hidden channels of the feed-forward network over C; None leaves that network
            out, with the convolution before it.

    Raises:
        ValueError: A number is out of its range, or 4 ``num_heads`` does not divide C.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> ContMix(64).eval()(torch.ones(2, 64, 5, 7)).shape
        torch.Size([2, 64, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the blocks of OverLoCK, with kernel_size=17, 15, 13 and 7 in its four stages, where a "
        "context path adds channels"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int = 2,
        kernel_size: int = 7,
        small_kernel_size: int = 5,
        mlp_ratio: float | None = None,
    ):
        super().__init__()
        require_at_least(1, in_channels=in_channels, num_heads=num_heads)
        require_odd(kernel_size=kernel_size, small_kernel_size=small_kernel_size)
        if in_channels % (4 * num_heads):
            raise ValueError(
                f"4 num_heads must divide in_channels, got {num_heads} heads for {in_channels} "
                "channels"
            )
        if kernel_size not in _BRANCHES:
            known = ", ".join(map(str, sorted(_BRANCHES)))
            raise ValueError(f"kernel_size must be one of {known}, got {kernel_size}")
        if small_kernel_size > kernel_size:
            raise ValueError(
                f"small_kernel_size must be at most kernel_size, got {small_kernel_size} and "
                f"{kernel_size}"
            )
        channels, half = in_channels, in_channels // 2
        self.groups = 2 * num_heads
        self.kernels = (small_kernel_size, kernel_size)
        weights = small_kernel_size**2 + kernel_size**2
        # The authors' names.
        self.rpb1 = nn.Parameter(_table(self.groups, small_kernel_size))
        self.rpb2 = nn.Parameter(_table(self.groups, kernel_size))
        self.dwconv1 = _ResidualDepthwise(channels)
        self.norm1 = LayerNorm2d(channels, eps=1e-6)
        self.weight_query = nn.Sequential(*_conv_norm(channels, half))
        self.weight_key = nn.Sequential(_Means(_CELLS), *_conv_norm(channels, half))
        self.weight_value = nn.Sequential(*_conv_norm(channels, channels))
        self.weight_proj = nn.Conv2d(_CELLS**2, weights, 1)
        self.fusion_proj = nn.Sequential(*_conv_norm(channels, channels))
        self.lepe = nn.Sequential(
            _ManyKernels(channels, kernel_size), LenientBatchNorm2d(channels)
        )  # fmt: skip
        self.se_layer = _ChannelGate(channels)
        self.gate = nn.Sequential(*_conv_norm(channels, channels), nn.SiLU())
        self.proj = nn.Sequential(LenientBatchNorm2d(channels), nn.Conv2d(channels, channels, 1))
        self.mlp = None
        if mlp_ratio is not None:
            hidden = int(mlp_ratio * channels)
            require_at_least(1, mlp_ratio=hidden)
            self.dwconv2 = _ResidualDepthwise(channels)
            self.norm2 = LayerNorm2d(channels, eps=1e-6)
            self.mlp = nn.Sequential(
                nn.Conv2d(channels, hidden, 1),
                nn.GELU(),
                _ResidualDepthwise(hidden),
                _ResponseNorm(hidden),
                nn.Conv2d(hidden, channels, 1),
            )
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.LayerNorm | nn.BatchNorm2d | _ResponseNorm):
                module.reset_parameters()
        for table in (self.rpb1, self.rpb2):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dwconv1(x)
        normed = self.norm1(x)
        y = self._mixed(normed)
        y = self.se_layer(self.fusion_proj(y) + self.lepe(normed))
        x = x + self.proj(self.gate(normed) * y)
        if self.mlp is None:
            return x
        x = self.dwconv2(x)
        return x + self.mlp(self.norm2(x))

    def attention_maps(
        self, x: Tensor, positions: Sequence[Sequence[int]] | None = None
    ) -> dict[str, Tensor]:
        """Return the kernels of some positions, mean of the groups, and the gate of SE.

        Args:
            x: Feature map. Shape (N, C, H, W).
            positions: Row and column of P positions; None takes the centre alone.

        Returns:
            ``"small"`` and ``"large"``, of shape (N, P, H, W), zero outside the window, with sum 1;
            ``"channel"`` of shape (N, C, 1, 1).
        """
        places = flat_positions(x, positions)
        normed = self.norm1(self.dwconv1(x))
        y = self.fusion_proj(self._mixed(normed)) + self.lepe(normed)
        dtype = accumulate_dtype(x.dtype)
        resized = self._resized(normed)
        maps = {}
        for name, weights in zip(("small", "large"), self._weights(resized, dtype), strict=True):
            maps[name] = _spread(weights.mean(1), x.shape[2:], places)
        return {**maps, "channel": self.se_layer.proj(y).to(dtype)}

    def _resized(self, normed: Tensor) -> Tensor:
        """Return the map at the size at which kernels apply, at least k x k."""
        height, width = normed.shape[2:]
        shorter = torch.sym_min(height, width)
        longest = torch.sym_max(shorter, self.kernels[1])
        size = (height * longest // shorter, width * longest // shorter)
        if not is_exporting() and size == (height, width):
            return normed
        return F.interpolate(normed, size, mode="bilinear")

    def _weights(self, resized: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return both kernels of all positions. Shape (N, G, H, W, k, k), in ``dtype``."""
        size, groups = resized.shape[2:], self.groups
        q = self.weight_query(resized).to(dtype).unflatten(1, (groups, -1)).flatten(3)
        key = self.weight_key(resized).to(dtype).unflatten(1, (groups, -1)).flatten(3)
        channels = q.shape[2]
        scale = (2 * channels) ** -0.5  # (C / G)^-1/2; a group of q has half as many channels
        mapping = self.weight_proj.weight.flatten(1).to(dtype)  # (k'^2 + k^2, 49)
        with autocast_off(resized.device.type):
            if channels <= _CELLS**2:  # then W_p key has fewer columns than W_p
                logits = q.mT @ (mapping @ key.mT * scale).mT
            else:
                logits = (q.mT @ key * scale) @ mapping.T
        assert self.weight_proj.bias is not None
        logits = (logits + self.weight_proj.bias.to(dtype)).unflatten(2, tuple(size))
        parts = logits.split([kernel**2 for kernel in self.kernels], 4)
        return [
            (part + relative_biases(table.to(dtype), size).flatten(3)).softmax(4).unflatten(
                4, (kernel, kernel)
            )
            for part, table, kernel in zip(parts, (self.rpb1, self.rpb2), self.kernels, strict=True)
        ]  # fmt: skip

    def _mixed(self, normed: Tensor) -> Tensor:
        """Return the sums over windows: (N, C, H, W) -> (N, C, H, W)."""
        resized = self._resized(normed)
        values = self.weight_value(resized).permute(0, 2, 3, 1)
        halves = values.chunk(2, 3)
        weights = self._weights(resized, accumulate_dtype(normed.dtype))
        y = torch.cat([
            sum_windows(half, weight.to(half.dtype).permute(0, 2, 3, 1, 4, 5))
            for half, weight in zip(halves, weights, strict=True)
        ], 3).permute(0, 3, 1, 2)  # fmt: skip
        if resized is normed:
            return y
        return adaptive_avg_pool2d(y, normed.shape[2:])

    def extra_repr(self) -> str:
        return f"groups={self.groups}, kernels={self.kernels}"


def _table(groups: int, kernel: int) -> Tensor:
    return torch.empty(groups, 2 * kernel - 1, 2 * kernel - 1)


def _conv_norm(channels: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    """Return W and BN: a 1x1 convolution without bias and its norm."""
    return nn.Conv2d(channels, out_channels, 1, bias=False), LenientBatchNorm2d(out_channels)


def _spread(weights: Tensor, size: torch.Size, places: Tensor) -> Tensor:
    """Return how much the windows of some positions weigh every position of the map.

    Args:
        weights: Kernels at the size at which they apply. Shape (N, H', W', k, k).
        size: Height H and width W of the map.
        places: Numbers of P positions, row by row. Shape (P,).

    Returns:
        (N, P, H, W)
    """
    n, height, width, kernel, _ = weights.shape
    cells = torch.arange(kernel, device=weights.device)
    rows = window_starts(height, kernel, weights.device)[:, None] + cells
    columns = window_starts(width, kernel, weights.device)[:, None] + cells
    cell = rows[:, None, :, None] * width + columns[None, :, None, :]  # (H', W', k, k)
    # The output of a position is a mean of those at the larger size, as the map is an image of it.
    means = torch.einsum(
        "yi,xj->yxij", cell_weights(height, size[0], weights), cell_weights(width, size[1], weights)
    ).flatten(2).flatten(0, 1)[places]  # fmt: skip
    weights, cell = weights.flatten(1, 2).flatten(2), cell.flatten(0, 1).flatten(1)
    maps = weights.new_zeros(n, len(places), height * width)
    for number, mean in enumerate(means):
        used = mean.nonzero().squeeze(1)
        parts = mean[used, None] * weights[:, used]
        maps[:, number].index_add_(1, cell[used].flatten(), parts.flatten(1))
    maps = maps.clamp(max=1)  # sums of rounded numbers may exceed it
    if (height, width) == tuple(size):
        return maps.unflatten(2, (height, width))
    count = size[0] * size[1]
    images = torch.eye(count, dtype=weights.dtype, device=weights.device).view(count, 1, *size)
    resize = F.interpolate(images, (height, width), mode="bilinear").flatten(1)  # (H W, H' W')
    return (maps @ resize.mT).clamp(max=1).unflatten(2, tuple(size))


class _Means(nn.Module):
    """Means of a grid of cells: (N, C, H, W) -> (N, C, side, side)."""

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool2d(x, (self.side, self.side))


class _ResidualDepthwise(DepthwiseConv2d):
    """x + DW3x3(x)."""

    def __init__(self, channels: int):
        super().__init__(channels, 3)

    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


class _ManyKernels(nn.Module):
    """DW_k of training: depthwise convolutions of several sizes and dilations, each with a norm."""

    def __init__(self, channels: int, kernel_size: int):
        super().__init__()
        self.lk_origin = DepthwiseConv2d(channels, kernel_size, bias=False)
        self.origin_bn = LenientBatchNorm2d(channels)
        self.branches = _BRANCHES[kernel_size]
        for size, dilation in self.branches:
            conv = DepthwiseConv2d(channels, size, dilation=dilation, bias=False)
            self.add_module(f"dil_conv_k{size}_{dilation}", conv)
            self.add_module(f"dil_bn_k{size}_{dilation}", LenientBatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.origin_bn(self.lk_origin(x))
        for size, dilation in self.branches:
            conv = self.get_submodule(f"dil_conv_k{size}_{dilation}")
            y = y + self.get_submodule(f"dil_bn_k{size}_{dilation}")(conv(x))
        return y

    def fused(self) -> nn.Module:
        return _OneKernel(self)


class _OneKernel(nn.Module):
    """DW_k in the fused model: one depthwise convolution with a bias."""

    def __init__(self, many: _ManyKernels):
        super().__init__()
        merged = fold_after(many.lk_origin, affine_of(many.origin_bn))
        side = merged.kernel_size[0]
        assert merged.bias is not None
        for size, dilation in many.branches:
            conv = many.get_submodule(f"dil_conv_k{size}_{dilation}")
            norm = many.get_submodule(f"dil_bn_k{size}_{dilation}")
            assert isinstance(conv, nn.Conv2d)
            branch = fold_after(conv, affine_of(norm))
            first = (side - (size - 1) * dilation) // 2
            taps = slice(first, side - first, dilation)
            merged.weight.data[:, :, taps, taps] += branch.weight.data
            merged.bias.data += branch.bias.data
        self.lk_origin = merged

    def forward(self, x: Tensor) -> Tensor:
        return self.lk_origin(x)


class _ChannelGate(nn.Module):
    """SE: one gate per channel from the means of all."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(16, channels // 8)
        self.proj = nn.Sequential(
            _Mean(),
            nn.Conv2d(channels, hidden, 1),
            nn.GELU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.proj(x)


class _Mean(nn.Module):
    """Mean over all positions: (N, C, H, W) -> (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


class _ResponseNorm(nn.Module):
    """GRN: channels scaled by their length over positions, relative to the mean length."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.empty(1, channels, 1, 1))

    def reset_parameters(self) -> None:
        """Start as the identity."""
        nn.init.zeros_(self.gamma)
        nn.init.zeros_(self.beta)

    def forward(self, u: Tensor) -> Tensor:
        values = u.to(accumulate_dtype(u.dtype))  # squares overflow in float16
        length = torch.linalg.vector_norm(values, dim=(2, 3), keepdim=True)
        relative = length / (length.mean(1, keepdim=True) + 1e-6)
        return (self.gamma * relative.to(u.dtype) + 1) * u + self.beta
