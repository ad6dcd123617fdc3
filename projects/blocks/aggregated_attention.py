"""Aggregated attention of TransNeXt (Shi, CVPR 2024, arXiv:2311.17132).

In one softmax, every query attends to the w x w positions around it and to a coarse copy of the
whole map. With heads of d channels, K = w^2, a pooled map x' of P positions, n(a) = a / |a|, and
L(i) = (window positions inside the map) + P,

    x' = LN(adaptive_avg_pool(GELU(conv1x1(x))));     k, v = W_kv x;   k', v' = W_kv x'
    s(i) = (n(q_i) + e) softplus(tau) log L(i)
    (A, A') = softmax(s . n(k) + b,  s . n(k') + CPB)         window (-inf outside the map), pooled
    y = sum_window (A + n(q) . T + u) v + sum_pooled A' v';   F' = W_o y + b_o

CPB is an MLP of the distance between the query and the middle of a pooled cell, on a logarithmic
scale. T and u weigh the values of the window by its position, behind the softmax.

In plain torch, with k and v of the window as (N, heads, d, K, H W)::

    local = (s[:, :, :, None] * k).sum(2) + b                      # (N, heads, K, H W)
    weights = torch.cat([local.mT, s.mT @ pooled_k + cpb], 3).softmax(3)

Differs from the authors' code: sizes are those of the input, not the constructor's, so that every
height and width works; the MLP runs on the distances that there are; half precision and autocast
compute all behind the projections in float32. Their last stage has attention of all positions to
all, which is another module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import as_pair, require_at_least, require_odd
from mmattn.layers.heads import (
    flat_positions,
    merge_heads,
    resolve_num_heads,
    split_heads,
    to_feature_map,
    to_tokens,
)
from mmattn.layers.initial import init_transformer_layers
from mmattn.layers.pooling import adaptive_avg_pool2d, cell_bounds, cell_weights
from mmattn.layers.precision import run_in_float32
from mmattn.ops import accumulate_dtype, autocast_off, is_exporting
from mmattn.registry import MODELS

_CPB_CHANNELS = 512
#: softplus(tau) when fresh.
_SCALE = 1 / 0.24


@MODELS.register_module()
class AggregatedAttention(nn.Module):
    """Attention to near positions and to a pooled copy of the map, in one softmax.

    Args:
        in_channels: Channels C, a multiple of the number of heads.
        num_heads: Number of heads; by default C // 32, at least 1. The authors' have 24 channels.
        window_size: w, odd.
        sr_ratio: How much coarser than the map the pooled copy is; None takes ``pool_size``.
        pool_size: Rows and columns of the pooled copy.
        train_size: Height and width that distances are measured by, those that the weights were
            trained on; None takes the input's.
        qkv_bias: Whether the projections to q, k and v have a bias.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: C is no multiple of ``num_heads``, or an argument is out of its range.

    Example:
        >>> import torch
        >>> AggregatedAttention(64)(torch.ones(2, 64, 9, 12)).shape
        torch.Size([2, 64, 9, 12])
    """

    usual_place: ClassVar[str] = (
        "the attention of TransNeXt's blocks in the first three of its four stages; the last one "
        "attends to all positions"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int | None = None,
        window_size: int = 3,
        sr_ratio: int | None = None,
        pool_size: Sequence[int] = (7, 7),
        train_size: Sequence[int] | None = None,
        qkv_bias: bool = True,
    ):
        super().__init__()
        self.num_heads = heads = resolve_num_heads(in_channels, num_heads)
        require_odd(window_size=window_size)
        require_at_least(1, sr_ratio=sr_ratio)
        self.window_size = window_size
        self.sr_ratio = sr_ratio
        self.pool_size = as_pair("pool_size", pool_size)
        self.train_size = None if train_size is None else as_pair("train_size", train_size)
        cells, head_channels = window_size**2, in_channels // heads
        # The authors' names.
        self.temperature = nn.Parameter(torch.empty(heads, 1, 1))
        self.query_embedding = nn.Parameter(torch.empty(heads, 1, head_channels))
        self.relative_pos_bias_local = nn.Parameter(torch.empty(heads, cells))
        self.learnable_tokens = nn.Parameter(torch.empty(heads, head_channels, cells))
        self.learnable_bias = nn.Parameter(torch.empty(heads, 1, cells))
        self.q = nn.Linear(in_channels, in_channels, bias=qkv_bias)
        self.kv = nn.Linear(in_channels, 2 * in_channels, bias=qkv_bias)
        self.proj = nn.Linear(in_channels, in_channels)
        self.sr = nn.Conv2d(in_channels, in_channels, 1)
        self.norm = nn.LayerNorm(in_channels)
        self.cpb_fc1 = nn.Linear(2, _CPB_CHANNELS)
        self.cpb_fc2 = nn.Linear(_CPB_CHANNELS, heads)
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        init_transformer_layers(self.q, self.kv, self.proj, self.cpb_fc1, self.cpb_fc2)
        nn.init.normal_(self.sr.weight, std=(2 / self.sr.out_channels) ** 0.5)
        nn.init.zeros_(self.sr.bias)
        self.norm.reset_parameters()
        nn.init.constant_(self.temperature, math.log(math.expm1(_SCALE)))
        nn.init.trunc_normal_(self.query_embedding, std=0.02)
        nn.init.trunc_normal_(self.learnable_tokens, std=0.02)
        nn.init.trunc_normal_(self.relative_pos_bias_local, std=0.0004)
        nn.init.zeros_(self.learnable_bias)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        kv = self.kv(to_tokens(x))
        with autocast_off(x.device.type):
            q, pooled_k, pooled_v = self._queries_and_pooled(x)
            k, v = self._windows(kv, size)  # (N, heads, d, K, L) each
            near, far = self._weights(q, k, pooled_k, size)
            tokens = self.learnable_tokens.to(q.dtype), self.learnable_bias.to(q.dtype)
            near = near + q @ tokens[0] + tokens[1]
            local = (near.transpose(2, 3).unsqueeze(2) * v).sum(3)  # (N, heads, d, L)
            out = merge_heads(local.transpose(2, 3) + far @ pooled_v).to(x.dtype)
        return to_feature_map(self.proj(out), size)

    def attention_maps(
        self, x: Tensor, positions: Sequence[Sequence[int]] | None = None
    ) -> dict[str, Tensor]:
        """Return ``"aggregated"``: the weights that queries have for all positions, mean of heads.

        Those of the window, and those of the pooled cells, spread evenly over a cell. T and u are
        not part of them: they may be negative. A map sums to 1.

        Args:
            x: Shape (N, C, H, W).
            positions: Row and column of P queries; by default the centre alone.

        Returns:
            Maps of shape (N, P, H, W)
        """
        height, width = size = x.shape[2:]
        query = flat_positions(x, positions)
        q, pooled_k, _ = self._queries_and_pooled(x)
        k, _ = self._windows(self.kv(to_tokens(x)), size)
        near, far = (w[:, :, query].mean(1) for w in self._weights(q, k, pooled_k, size))
        cells = [
            cell_weights(length, count, far)
            for length, count in zip(size, self._pooled_size(size), strict=True)
        ]
        far = far.unflatten(2, (len(cells[0]), len(cells[1])))
        maps = torch.einsum("nqab,ah,bw->nqhw", far, *cells).flatten(2)
        below, right = self._window_steps(x.device)
        rows, columns = (query // width)[:, None] + below, (query % width)[:, None] + right
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        index = torch.where(inside, rows * width + columns, 0).expand_as(near)
        return {"aggregated": maps.scatter_add(2, index, near * inside).unflatten(2, size)}

    def _queries_and_pooled(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return n(q), (N, heads, L, d), n(k') and v', (N, heads, P, d), at least float32."""
        q = split_heads(run_in_float32(self.q, to_tokens(x)), self.num_heads)
        pooled = F.gelu(run_in_float32(self.sr, x))
        pooled = to_tokens(adaptive_avg_pool2d(pooled, self._pooled_size(x.shape[2:])))
        k, v = run_in_float32(self.kv, run_in_float32(self.norm, pooled)).chunk(2, 2)
        k, v = split_heads(k, self.num_heads), split_heads(v, self.num_heads)
        return F.normalize(q, dim=3), F.normalize(k, dim=3), v

    def _pooled_size(self, size: Sequence[int]) -> tuple[int, int]:
        if self.sr_ratio is None:
            return self.pool_size
        ratio = self.sr_ratio
        larger = torch.sym_max if torch.compiler.is_compiling() else max
        return larger(size[0] // ratio, 1), larger(size[1] // ratio, 1)

    def _windows(self, kv: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return n(k) and v of the window of every query; zero outside the map.

        Args:
            kv: Keys and values of all positions. Shape (N, L, 2 C).
            size: Height and width.

        Returns:
            Two tensors of shape (N, heads, d, K, L), at least float32
        """
        kv = kv.to(accumulate_dtype(kv.dtype)).unflatten(2, (2, self.num_heads, -1))
        k, v = kv.unbind(2)  # (N, L, heads, d) each
        k, v = (
            unfold_windows(to_feature_map(t.flatten(2), size), self.window_size)
            for t in (F.normalize(k, dim=3), v)
        )
        return k.unflatten(1, (self.num_heads, -1)), v.unflatten(1, (self.num_heads, -1))

    def _weights(
        self, q: Tensor, k: Tensor, pooled_k: Tensor, size: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return A, (N, heads, L, K), and A', (N, heads, L, P).

        Args:
            q: n(q). Shape (N, heads, L, d).
            k: n(k) of the windows. Shape (N, heads, d, K, L).
            pooled_k: n(k'). Shape (N, heads, P, d).
            size: Height and width.
        """
        height, width = size
        below, right = self._window_steps(q.device)
        rows = torch.arange(height, device=q.device)[:, None] + below
        columns = torch.arange(width, device=q.device)[:, None] + right
        inside = ((rows >= 0) & (rows < height)).unsqueeze(1)
        inside = (inside & (columns >= 0) & (columns < width)).flatten(0, 1)  # (L, K)
        lengths = inside.sum(1).to(q.dtype) + pooled_k.shape[2]
        scale = F.softplus(self.temperature.to(q.dtype)) * lengths.log().unsqueeze(1)
        scaled = (q + self.query_embedding.to(q.dtype)) * scale
        near = (scaled.transpose(2, 3).unsqueeze(3) * k).sum(2).transpose(2, 3)
        near = near + self.relative_pos_bias_local.to(q.dtype).unsqueeze(1)
        near = near.masked_fill(~inside, -math.inf)
        far = scaled @ pooled_k.transpose(2, 3) + self._cpb(size, q)
        weights = torch.cat([near, far], 3).softmax(3)
        near, far = weights.split((near.shape[3], far.shape[3]), 3)
        return near, far

    def _window_steps(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return how far below and right of the query each of the K window positions is."""
        side = self.window_size
        cell = torch.arange(side * side, device=device)
        return cell // side - side // 2, cell % side - side // 2

    def _cpb(self, size: Sequence[int], like: Tensor) -> Tensor:
        """Return the bias of each query and pooled key. Shape (heads, L, P), the dtype of like."""
        measured_by = size if self.train_size is None else self.train_size
        scales, indices = [], []
        for length, cells, reference in zip(
            size, self._pooled_size(size), measured_by, strict=True
        ):
            distances, index = half_distances(length, cells, like.device)
            indices.append(index)
            larger = torch.sym_max if torch.compiler.is_compiling() else max
            relative = distances.to(like.dtype) * (4 / larger(reference - 1, 1))
            scales.append(relative.sign() * (relative.abs() + 1).log2() / 3)
        table = torch.stack(torch.meshgrid(*scales, indexing="ij"), 2)
        table = run_in_float32(self.cpb_fc2, run_in_float32(self.cpb_fc1, table).relu())
        rows, columns = indices
        bias = table.to(like.dtype)[rows[:, None, :, None], columns[None, :, None, :]]
        return bias.flatten(2, 3).flatten(0, 1).permute(2, 0, 1)

    def extra_repr(self) -> str:
        pooled = f"pool_size={self.pool_size}"
        if self.sr_ratio is not None:
            pooled = f"sr_ratio={self.sr_ratio}"
        return f"num_heads={self.num_heads}, window_size={self.window_size}, {pooled}"


def unfold_windows(image: Tensor, side: int) -> Tensor:
    """Return the window around every position, zero outside the image.

    Args:
        image: Shape (N, C, H, W).
        side: Height and width of the window, odd.

    Returns:
        (N, C, K, H W)
    """
    if not is_exporting():
        windows = F.unfold(image, side, padding=side // 2)
        return windows.unflatten(1, (-1, side * side))
    # onnxruntime refuses what the exporter writes for ``unfold`` with free sizes.
    height, width = image.shape[2:]
    padded = F.pad(image, (side // 2,) * 4)
    shifts = [divmod(cell, side) for cell in range(side * side)]
    shifted = [padded[:, :, y : y + height, x : x + width] for y, x in shifts]
    return torch.stack(shifted, 2).flatten(3)


def half_distances(length: int, cells: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return twice the distances between lines and the middles of pooled cells, each once.

    Args:
        length: Number of lines.
        cells: Number of cells that they are pooled to.
        device: Device of the results.

    Returns:
        Integers, shape (U,), and the place among them of each line and cell, shape (length, cells)
    """
    if torch.compiler.is_compiling():  # for any length: more than there are
        start, end = cell_bounds(torch.arange(cells, device=device), length, cells)
        lines = torch.arange(length, device=device)
        most = 2 * (length - 1)
        index = 2 * lines[:, None] - (start + end - 1) + most
        return torch.arange(2 * most + 1, device=device) - most, index
    distances, index = _half_distances(length, cells)
    return torch.tensor(distances, device=device), torch.tensor(index, device=device)


@lru_cache(maxsize=64)
def _half_distances(length: int, cells: int) -> tuple[list[int], list[list[int]]]:
    middles = [sum(cell_bounds(cell, length, cells)) - 1 for cell in range(cells)]
    distances = [[2 * line - middle for middle in middles] for line in range(length)]
    once = sorted({distance for row in distances for distance in row})
    place = {distance: number for number, distance in enumerate(once)}
    return once, [[place[distance] for distance in row] for row in distances]
