"""One block of Dynamic Head: scale-, spatial- and task-aware attention (arXiv:2106.08322).

The paper views a pyramid as L x S x C and applies W(F) = π_C(π_S(π_L(F) · F) · F) · F. The authors'
code, which the published weights are of and which this follows, does for each level i

    offset, mask = conv(x_i)
    mid  = GN(deform_conv(x_i))            low = GN(deform_conv(x_{i-1}), stride 2)
    high = up(GN(deform_conv(x_{i+1})))
    y_i  = dynamic_relu(mean over the maps that are there of gate(map) · map)

with the same offsets for all three, and the weights of a block shared by all levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mmattn.errors import ConfigError, did_you_mean
from mmattn.layers.precision import run_in_float32
from mmattn.ops import is_exporting

from .dynamic_relu import REDUCTION, DynamicReLU
from .fused import ChannelMoments, DynamicMaximum, spread_weights
from .high_mode import HIGH_MODES, beginning, upsample
from .scale_attention import ScaleAttention
from .spatial_attention import NORM_GROUPS, TAPS, SpatialAttention

INITS = ("mmdet", "official")


class DynamicHeadBlock(nn.Module):
    """Attend to scale, space and task in every level of a pyramid.

    Args:
        in_channels: Channels C of every level.
        out_channels: Channels O of every level of the result, a multiple of 16.
        bias: Whether the deformable convolutions have a bias: the authors' do, mmdet's do not.
        high_mode: How the coarser level is convolved, see ``DynamicHead``.
        init: Initial weights, see ``DynamicHead``.
        zero_init_offset: Whether offsets start at 0 and masks at 1/2; by default with mmdet's
            initialisation only.

    Raises:
        ConfigError: A number of channels, ``high_mode`` or ``init`` is none that there is.

    Shape:
        - levels: (N, C, H_i, W_i), from the finest on; each H_i, W_i half of the one before,
          rounded up
        - output: (N, O, H_i, W_i)

    Example:
        >>> levels = [torch.zeros(1, 16, 8, 10), torch.zeros(1, 16, 4, 5)]
        >>> [tuple(y.shape) for y in DynamicHeadBlock(16, 32)(levels)]
        [(1, 32, 8, 10), (1, 32, 4, 5)]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bias: bool = False,
        high_mode: str = "official",
        init: str = "mmdet",
        zero_init_offset: bool | None = None,
    ):
        super().__init__()
        _check_arguments(in_channels, out_channels, high_mode, init)
        self.in_channels = in_channels
        self.high_mode = high_mode
        self.spatial_conv_high = SpatialAttention(in_channels, out_channels, bias=bias)
        self.spatial_conv_mid = SpatialAttention(in_channels, out_channels, bias=bias)
        self.spatial_conv_low = SpatialAttention(in_channels, out_channels, 2, bias=bias)
        self.spatial_conv_offset = nn.Conv2d(in_channels, 3 * TAPS, 3, padding=1)
        self.scale_attn_module = ScaleAttention(out_channels)
        self.task_attn_module = DynamicReLU(out_channels)
        self._init_weights(init, init == "mmdet" if zero_init_offset is None else zero_init_offset)

    def _init_weights(self, init: str, zero_init_offset: bool) -> None:
        small = self.modules() if init == "mmdet" else self.scale_attn_module.modules()
        for module in small:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        if zero_init_offset:
            nn.init.zeros_(self.spatial_conv_offset.weight)
            assert self.spatial_conv_offset.bias is not None
            nn.init.zeros_(self.spatial_conv_offset.bias)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Return the attended levels.

        Raises:
            ConfigError: The levels are no pyramid of ``in_channels`` channels (``check_levels``).
        """
        if is_exporting():  # sizes may be symbols there
            return self.textbook(levels)
        check_levels(levels, self.in_channels)
        levels = [x.contiguous(memory_format=torch.channels_last) for x in levels]
        return [self._level(levels, i) for i in range(len(levels))]

    def textbook(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Compute the same map by map, as the formulas above are written."""
        outputs = []
        for i, x in enumerate(levels):
            maps = [
                norm if size is None else upsample(norm, size)
                for module, y, size in self._convolved(levels, i)
                for norm in [module.norm(y)]
            ]
            gated = [self.scale_attn_module(m) * m for m in maps]
            outputs.append(self.task_attn_module(sum(gated) / len(gated)).to(x.dtype))
        return outputs

    def _level(self, levels: Sequence[Tensor], i: int) -> Tensor:
        """Compute one level with two passes over its maps (``fused``)."""
        size = (levels[i].shape[2], levels[i].shape[3])
        convolved = self._convolved(levels, i)
        scales, maps, sums, means = [], [], [], []
        for module, y, to in convolved:
            weights = None
            if to is not None:
                like = torch.empty((), dtype=_wide_dtype(y), device=y.device)
                weights = spread_weights((y.shape[2], y.shape[3]), size, like)
            mean, variance, at_size = ChannelMoments.apply(y, weights)
            scale, shift = module.affine_of(mean, variance)
            gate = self.scale_attn_module.of_means(at_size * scale + shift) / len(convolved)
            scales.append(gate * scale)
            sums.append(gate * shift)
            means.append(scales[-1] * at_size)
            maps.append(y)
        total = torch.stack(sums).sum(0)
        coefficients = self.task_attn_module.of_means(torch.stack(means).sum(0) + total)
        y = DynamicMaximum.apply(total, *coefficients, *scales, *maps)
        return y.to(levels[i].dtype)

    def _convolved(
        self, levels: Sequence[Tensor], i: int
    ) -> list[tuple[SpatialAttention, Tensor, tuple[int, int] | None]]:
        """Return for each branch of level ``i`` its module, its convolved map before the norm, and
        the size that the map is upsampled to after the norm, None where it has that size."""
        x = levels[i]
        size = (x.shape[2], x.shape[3])
        # In float32: half a pixel of error at column 256 is what bfloat16 coordinates would have.
        sampling = run_in_float32(self.spatial_conv_offset, x)
        offset, mask = sampling[:, : 2 * TAPS], sampling[:, 2 * TAPS :].sigmoid()
        mid, low, high = self.spatial_conv_mid, self.spatial_conv_low, self.spatial_conv_high
        found = [(mid, mid.conv(x, offset, mask), None)]
        if i > 0:
            found.append((low, low.conv(levels[i - 1], offset, mask), None))
        if i < len(levels) - 1:
            coarse = levels[i + 1]
            if self.high_mode == "natural":
                found.append((high, high.conv(upsample(coarse, size), offset, mask), None))
            else:
                fit = beginning if self.high_mode == "official" else upsample
                smaller = (coarse.shape[2], coarse.shape[3])
                at_coarse = high.conv(coarse, fit(offset, smaller), fit(mask, smaller))
                found.append((high, at_coarse, size))
        return found


def check_levels(levels: Sequence[Tensor], in_channels: int) -> None:
    """Raise unless the levels are a pyramid of ``in_channels`` channels each.

    Raises:
        ConfigError: There is no level, one has other channels, or is not half of the one before.
    """
    if not isinstance(levels, Sequence) or len(levels) < 1:
        raise ConfigError(
            "Dynamic Head takes a list of at least one feature map, from the finest on; got "
            f"{'an empty one' if isinstance(levels, Sequence) else type(levels).__name__}"
        )
    channels = [x.shape[1] for x in levels]
    if channels != [in_channels] * len(levels):
        unequal = len(set(channels)) > 1
        raise ConfigError(
            f"Dynamic Head has in_channels={in_channels}, but its levels have {channels} channels; "
            + (
                "all levels need the same number: put an FPN, or a ChannelMapper, in front of it"
                if unequal
                else f"write in_channels={channels[0]}, or out_channels={in_channels} in the neck "
                "in front of it"
            )
        )
    sizes = [(x.shape[2], x.shape[3]) for x in levels]
    for i, ((height, width), size) in enumerate(pairwise(sizes)):
        half = (-(-height // 2), -(-width // 2))
        if size != half:
            raise ConfigError(
                f"Dynamic Head needs levels that halve, rounded up: level {i} is "
                f"{height} x {width}, so level {i + 1} has to be {half[0]} x {half[1]}, and is "
                f"{size[0]} x {size[1]}; "
                "set pad_size_divisor of the data preprocessor to the last level's stride, or "
                "choose levels of consecutive strides"
            )


def _check_arguments(in_channels: int, out_channels: int, high_mode: str, init: str) -> None:
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(
                f"{name} must be a whole number of at least 1, the same for all levels; got "
                f"{value!r}"
            )
    if out_channels % NORM_GROUPS:
        below, above = (out_channels // NORM_GROUPS + k for k in (0, 1))
        near = " or ".join(str(NORM_GROUPS * k) for k in (below, above) if k)
        raise ConfigError(
            f"out_channels must be a multiple of {NORM_GROUPS}, the groups of its norms; got "
            f"{out_channels}: take {near}"
        )
    assert NORM_GROUPS % REDUCTION == 0
    for name, value, known in (("high_mode", high_mode, HIGH_MODES), ("init", init, INITS)):
        if value not in known:
            raise ConfigError(
                f"{name} must be one of {', '.join(known)}; got {value!r}."
                f"{did_you_mean(str(value), known)}"
            )


def _wide_dtype(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
