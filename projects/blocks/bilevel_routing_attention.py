"""Bi-level routing attention (Zhu et al., BiFormer, CVPR 2023, arXiv:2303.08810).

The map is cut into S x S regions. For each of them the k regions are chosen whose mean key fits its
mean query best; its positions attend to those regions' positions alone. With C channels in all,

    q, k, v = W x + b;    q_r, k_r = means of q and k over region r
    I(r) = the k largest of q_r . k_1, q_r . k_2, …          one choice for all heads
    O = softmax(q K^T / sqrt(C)) V   over the positions K, V of the regions I(r);     per head
    y = W_o (O + LePE(v)) + b_o;    LePE: a depthwise 5x5 convolution of v as a map

The scale is that of all channels, not of a head's, since the released weights need it. No gradient
flows through the choice. In plain torch, with regions as rows and C channels::

    chosen = (q.mean(2) @ k.mean(2).mT).topk(topk, 2).indices         # (N, S S, k)
    k, v = (t[torch.arange(n)[:, None, None], chosen].flatten(2, 3) for t in (k, v))

A map that S does not divide gets zeros at the right and at the bottom, before the projection, as in
the authors' released networks: padding is averaged into the means and attended to. ``masked`` keeps
it out of means and softmax, and chooses no region without a real position.

Differs from the authors' code: k is at most the number of regions (theirs fails); under ``masked``
also at most that of regions with a real position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import as_pair, require_at_least, require_odd
from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.heads import flat_positions, merge_heads, resolve_num_heads, split_heads
from mmattn.layers.initial import init_transformer_layers
from mmattn.layers.windows import from_windows, pad_to_multiple, real_positions, to_windows
from mmattn.ops import accumulate_dtype, autocast_off, is_exporting
from mmattn.registry import MODELS

# Numbers of copied keys and values held at a time (64 MB in single precision).
_MANY = 2**24


@MODELS.register_module()
class BiLevelRoutingAttention(nn.Module):
    """Attention of the positions of each region to a few regions, chosen by content.

    Cost grows with k (H W / S)^2: raise S with the input. The authors take S = 7 for maps of images
    of 224 x 224, 8 for crops of 512 x 512 and 16 in detectors; and k = 1, 4, 16 in the first three
    stages. The block adds no shortcut; a host does.

    Args:
        in_channels: Channels C of the input.
        num_heads: Number of heads, which divides C; None takes C // 32, at least 1.
        n_win: S, the number of regions along each side; regions are square on square maps alone.
        topk: k, the number of regions that a region attends to.
        lepe_kernel: Side of the kernel of LePE, odd.
        region_size: Height and width of a region in positions, in place of ``n_win``: there are
            then as many regions as the map needs.
        masked: Whether padding is left out of means and softmax.

    Raises:
        ValueError: A number is out of its range, or the heads do not divide C.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> BiLevelRoutingAttention(64)(torch.ones(2, 64, 5, 7)).shape
        torch.Size([2, 64, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the attention of BiFormer's blocks in the first three of its four stages, with topk=1, 4 "
        "and 16"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int | None = None,
        n_win: int = 7,
        topk: int = 4,
        lepe_kernel: int = 5,
        region_size: Sequence[int] | None = None,
        masked: bool = False,
    ):
        super().__init__()
        self.num_heads = resolve_num_heads(in_channels, num_heads)
        require_at_least(1, n_win=n_win, topk=topk)
        require_odd(lepe_kernel=lepe_kernel)
        self.n_win, self.topk, self.masked = n_win, topk, masked
        self.region_size = None if region_size is None else as_pair("region_size", region_size)
        # The names of the authors' released files.
        self.qkv = _Projection(in_channels)
        self.wo = nn.Linear(in_channels, in_channels)
        self.lepe = DepthwiseConv2d(in_channels, lepe_kernel)
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        init_transformer_layers(self.qkv.qkv, self.wo)
        self.lepe.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        qkv, region, real = self._regions(x)
        n, regions = qkv.shape[:2]
        channels = x.shape[1]
        chosen = self._chosen(qkv, real)  # (N, regions, k)
        padded_width = self._padded_size(x)[1]
        q, keys_values = qkv[..., :channels], qkv[..., channels:]
        out = self._attend(q.flatten(0, 1), keys_values, chosen, real)
        out = from_windows(out.unflatten(0, (n, regions)), region, padded_width)
        v = from_windows(qkv[..., 2 * channels :], region, padded_width)
        if real is not None:
            v = v[:, :height, :width]  # LePE pads it with zeros, as at any border
        local = self.lepe(v.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out = out[:, :height, :width] + local[:, :height, :width]
        return self.wo(out).permute(0, 3, 1, 2)

    def attention_maps(
        self, x: Tensor, positions: Sequence[Sequence[int]] | None = None
    ) -> dict[str, Tensor]:
        """Return how much some positions attend to every other one, mean of heads.

        Args:
            x: Feature map. Shape (N, C, H, W).
            positions: Row and column of P positions; None takes the centre alone.

        Returns:
            ``"regions"`` of shape (N, P, H, W): zero outside the chosen regions, with sum 1, or
            less where padding takes part.
        """
        height, width = x.shape[2:]
        qkv, region, real = self._regions(x)
        n, regions, count, _ = qkv.shape
        padded_width = self._padded_size(x)[1]
        places = flat_positions(x, positions)
        row, column = places // width, places % width
        index = row // region[0] * (padded_width // region[1]) + column // region[1]
        inner = row % region[0] * region[1] + column % region[1]
        q, k, _ = qkv.to(accumulate_dtype(x.dtype)).chunk(3, 3)
        q = q[:, index, inner].unflatten(2, (self.num_heads, -1))
        k = k.unflatten(3, (self.num_heads, -1))
        logits = torch.einsum("nphd,nrthd->nphrt", q, k) * x.shape[1] ** -0.5
        visible = torch.zeros(n, len(places), regions, dtype=torch.bool, device=x.device)
        visible = visible.scatter(2, self._chosen(qkv, real)[:, index], True)[:, :, None, :, None]
        if real is not None:
            visible = visible & real.squeeze(3)[:, None, None]
        logits = logits.masked_fill(~visible, -torch.inf).flatten(3)
        weights = logits.softmax(-1).mean(2).view(n * len(places), regions, count, 1)
        maps = from_windows(weights, region, padded_width).squeeze(3).unflatten(0, (n, -1))
        return {"regions": maps[:, :, :height, :width]}

    def _multiple(self) -> tuple[int, int]:
        """Return the numbers that height and width have to be multiples of."""
        return self.region_size or (self.n_win, self.n_win)

    def _padded_size(self, x: Tensor) -> tuple[int, int]:
        rows, columns = self._multiple()
        return x.shape[2] + -x.shape[2] % rows, x.shape[3] + -x.shape[3] % columns

    def _regions(self, x: Tensor) -> tuple[Tensor, tuple[int, int], Tensor | None]:
        """Return q, k and v by region, the size of a region, and what is real, if that counts.

        Shapes (N, regions, positions of a region, 3 C) and (1, regions, positions, 1).
        """
        height, width = self._padded_size(x)
        region = self.region_size or (height // self.n_win, width // self.n_win)
        real = real_positions(x, self._multiple()) if self.masked else None
        tokens = pad_to_multiple(x, self._multiple()).permute(0, 2, 3, 1)
        qkv = to_windows(self.qkv.qkv(tokens), region)
        return qkv, region, None if real is None else to_windows(real, region)

    @torch.no_grad()
    def _chosen(self, qkv: Tensor, real: Tensor | None) -> Tensor:
        """Return the numbers of the regions that each region attends to. Shape (N, regions, k)."""
        channels = qkv.shape[3] // 3
        dtype = accumulate_dtype(qkv.dtype)
        queries_keys = qkv[..., : 2 * channels]
        if real is None:
            means = queries_keys.mean(2, dtype=dtype)
        else:
            count = real.sum(2).clamp(min=1).to(dtype)
            means = (queries_keys * real.to(qkv.dtype)).sum(2, dtype=dtype) / count
        with autocast_off(qkv.device.type):
            scores = means[..., :channels] @ means[..., channels:].mT
        if real is not None:  # an empty region comes last; nothing in it is attended to
            scores = scores.masked_fill(~real.any(2).mT, -torch.inf)
        topk = self.topk
        if self.region_size is None:
            topk = min(topk, self.n_win**2)
        else:
            topk = torch.sym_min(topk, scores.shape[2])
        return scores.topk(topk, 2, sorted=False).indices

    def _attend(
        self, q: Tensor, keys_values: Tensor, chosen: Tensor, real: Tensor | None
    ) -> Tensor:
        """Attend to the chosen regions.

        Args:
            q: Queries. Shape (N regions, positions, C).
            keys_values: Shape (N, regions, positions, 2 C).
            chosen: Shape (N, regions, k).
            real: Which positions are not padding, or None. Shape (1, regions, positions, 1).

        Returns:
            (N regions, positions, C)
        """
        n, regions, topk = chosen.shape
        first = torch.arange(n, device=chosen.device)[:, None, None] * regions
        index = (chosen + first).flatten(0, 1)  # (N regions, k) among the regions of all images
        keys_values = keys_values.flatten(0, 1)
        if real is not None:
            real = real.expand(n, -1, -1, -1).flatten(0, 1).flatten(1)
        # The copies of keys and values are k times as large as these: some regions at a time.
        copied = topk * keys_values.shape[1] * keys_values.shape[2]  # numbers for one region
        one_graph = torch.compiler.is_compiling() or is_exporting()
        if one_graph or n * regions * copied <= _MANY:
            return self._attend_to(q, keys_values, index, real)
        step = max(_MANY // copied, 1)
        parts = zip(q.split(step), index.split(step), strict=True)
        return torch.cat([self._attend_to(part, keys_values, at, real) for part, at in parts])

    def _attend_to(
        self, q: Tensor, keys_values: Tensor, index: Tensor, real: Tensor | None
    ) -> Tensor:
        """Attend from some regions, (R, positions, C), to the k of their own, (R, k)."""
        topk = index.shape[1]
        kv = keys_values.index_select(0, index.flatten()).unflatten(0, (-1, topk))
        kv = kv.flatten(1, 2).unflatten(2, (2, self.num_heads, -1))
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)  # (R, heads, k positions, d)
        mask = None
        if real is not None:
            mask = real.index_select(0, index.flatten()).unflatten(0, (-1, topk))
            mask = mask.flatten(1)[:, None, None]
        q = split_heads(q, self.num_heads)
        scale = (q.shape[1] * q.shape[3]) ** -0.5
        return merge_heads(F.scaled_dot_product_attention(q, k, v, mask, scale=scale))

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, n_win={self.n_win}, topk={self.topk}"


class _Projection(nn.Module):
    """The layer of q, k and v, one level deeper than needed, as in the authors' files."""

    def __init__(self, channels: int):
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
