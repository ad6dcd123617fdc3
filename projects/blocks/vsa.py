"""VSA: varied-size window attention (Zhang et al., ECCV 2022, arXiv:2204.08446).

Queries stay in fixed w x w windows. For each window and head a regressor predicts a shift and a
scale, and keys and values are w x w bilinear samples of the window so moved and resized. Windows
overlap and reach across each other's borders, so none has to be shifted cyclically.

    [q k v] = W x + b, then zeros up to H x W = (w nh) x (w nw);     C channels, heads of d
    (ox, oy, sx, sy) = conv1x1(leaky_relu(avg_pool_w(x)))            for each window and head
    Y = y + (1 + sy) (a - (w-1)/2) + oy (H - 1) / (2 nh)             a = 0 .. w-1, y, x: the centre
    X = x + (1 + sx) (b - (w-1)/2) + ox (W - 1) / (2 nw)             b = 0 .. w-1
    k~, v~ = k, v at (Y, X), 0 outside
    F' = W_o softmax(q k~^T / sqrt(d) + B) v~ + b_o

B is a table of relative positions as in Swin, or the sum of two products of q (unscaled) with
tables of rows and of columns, that all heads share.

In plain torch, with a grid of shape (N heads, windows, w w, 2) and k, v of (N heads, d, H, W)::

    k, v = (F.grid_sample(part, grid).permute(0, 2, 3, 1) for part in (k, v))
    return (q @ k.transpose(2, 3) / d**0.5 + bias).softmax(3) @ v

The regressor starts at zero, where VSA is window attention. Queries also attend to samples of the
padding, which have the logit B and the value 0.

Follows the later of the authors' two repositories, which has one regressor. Differs from it: no
penalty on coordinates outside the image; a feature map of one row or column, in windows of 1, has
no shift along it (theirs divides by zero); half precision and autocast sample and attend in
float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.attention import attend
from mmattn.layers.checks import require_at_least
from mmattn.layers.heads import (
    flat_positions,
    merge_heads,
    resolve_num_heads,
    split_heads,
    to_feature_map,
    to_tokens,
)
from mmattn.layers.initial import init_transformer_layers
from mmattn.layers.precision import run_in_float32
from mmattn.layers.windows import from_windows, pad_to_multiple, to_windows
from mmattn.ops import accumulate_dtype, autocast_off
from mmattn.registry import MODELS


@MODELS.register_module()
class VariedSizeWindowAttention(nn.Module):
    """Window attention whose windows of keys are shifted and resized, per head, by the input.

    Args:
        in_channels: Channels C, a multiple of the number of heads.
        num_heads: Number of heads; by default C // 32, at least 1, the authors' head width.
        window_size: w, the side of a window.
        rel_pos: ``'table'``, a bias for each relative position and head, or ``'decomposed'``, one
            vector for each row and column in place of it.
        qkv_bias: Whether the projection to q, k and v has a bias.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: C is no multiple of ``num_heads``, or an argument is out of its range.

    Example:
        >>> import torch
        >>> VariedSizeWindowAttention(64)(torch.ones(2, 64, 9, 12)).shape
        torch.Size([2, 64, 9, 12])
    """

    relative_position_index: Tensor

    usual_place: ClassVar[str] = "the window attention of a Swin's blocks, without their shifts"

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int | None = None,
        window_size: int = 7,
        rel_pos: Literal["table", "decomposed"] = "table",
        qkv_bias: bool = True,
    ):
        super().__init__()
        require_at_least(1, window_size=window_size)
        num_heads = resolve_num_heads(in_channels, num_heads)
        if rel_pos not in ("table", "decomposed"):
            raise ValueError(f"rel_pos must be 'table' or 'decomposed', got {rel_pos!r}")
        self.num_heads = num_heads
        self.window_size = window_size
        self.rel_pos = rel_pos
        self.qkv = nn.Linear(in_channels, 3 * in_channels, bias=qkv_bias)
        self.transform = nn.Sequential(
            nn.AvgPool2d(window_size, stride=window_size),
            nn.LeakyReLU(),
            nn.Conv2d(in_channels, 4 * num_heads, 1),
        )
        self.proj = nn.Linear(in_channels, in_channels)
        distances = 2 * window_size - 1
        # The authors' names.
        if rel_pos == "table":
            table = torch.empty(distances**2, num_heads)
            self.relative_position_bias_table = nn.Parameter(table)
            index = relative_position_index(window_size)
            self.register_buffer("relative_position_index", index)
        else:
            self.rel_pos_h = nn.Parameter(torch.empty(distances, in_channels // num_heads))
            self.rel_pos_w = nn.Parameter(torch.empty(distances, in_channels // num_heads))
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        init_transformer_layers(self.qkv, self.proj)
        nn.init.zeros_(self.transform[2].weight)
        nn.init.zeros_(self.transform[2].bias)
        if self.rel_pos == "table":
            nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        else:
            nn.init.zeros_(self.rel_pos_h)
            nn.init.zeros_(self.rel_pos_w)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        side = self.window_size
        with autocast_off(x.device.type):
            q, k, v, y, _ = self._windows(x)
            out = merge_heads(attend(q, k, v, self._bias(q)))
            rows, columns = y.shape[2:4]
            out = out.unflatten(0, (n, rows * columns))
            out = from_windows(out, (side, side), columns * side)
            out = out[:, :height, :width].to(x.dtype)
        return self.proj(out).permute(0, 3, 1, 2)

    def attention_maps(
        self, x: Tensor, positions: Sequence[Sequence[int]] | None = None
    ) -> dict[str, Tensor]:
        """Return ``"samples"``: the weights that queries have for all positions, mean of heads.

        A sample between positions counts for each of the four around it by its share; what lies
        outside the image is lost, so that a map sums to at most 1.

        Args:
            x: Shape (N, C, H, W).
            positions: Row and column of P queries; by default the centre alone.

        Returns:
            Maps of shape (N, P, H, W)
        """
        n, _, height, width = x.shape
        side = self.window_size
        query = flat_positions(x, positions)
        row, column = query // width, query % width
        q, k, _, y, x_ = self._windows(x)
        window = row // side * y.shape[3] + column // side
        inside = row % side * side + column % side
        logits = q @ k.transpose(2, 3) / q.shape[3] ** 0.5 + self._bias(q)
        weights = logits.softmax(3).unflatten(0, (n, -1))[:, window, :, inside]  # (P, N, heads, …)
        shares = [
            # of each line of the image: (N, heads, P, w, H or W)
            (1 - (place.flatten(2, 3)[:, :, window, :, None] - lines).abs()).clamp(min=0)
            for place, lines in (
                (y, torch.arange(height, device=x.device)),
                (x_, torch.arange(width, device=x.device)),
            )
        ]
        weights = weights.unflatten(3, (side, side))
        maps = torch.einsum("qnhij,nhqiy,nhqjx->nqyx", weights, *shares) / self.num_heads
        return {"samples": maps.clamp(max=1)}  # but for rounding

    def _windows(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return q, and k and v where they are sampled, and the rows and columns of the samples.

        Returns:
            Three tensors of shape (windows of all images, heads, w w, d), and two of shape
            (N, heads, nh, nw, w), all at least float32
        """
        side = self.window_size
        window = (side, side)
        qkv = to_feature_map(self.qkv(to_tokens(x)), x.shape[2:])
        qkv = pad_to_multiple(qkv.to(accumulate_dtype(qkv.dtype)), window)
        moves = run_in_float32(self.transform, pad_to_multiple(x, window))
        y, x_ = sample_positions(moves.unflatten(1, (self.num_heads, 4)), side)
        q, k_v = qkv.split((x.shape[1], 2 * x.shape[1]), 1)
        q = to_windows(q.permute(0, 2, 3, 1), window).flatten(0, 1)
        k_v = k_v.unflatten(1, (2, self.num_heads, -1)).transpose(1, 2)
        k, v = _samples(k_v, sampling_grid(y, x_, qkv.shape[2:]))
        return split_heads(q, self.num_heads), k, v, y, x_

    def _bias(self, q: Tensor) -> Tensor:
        """Return B in the dtype of q, (heads, w w, w w) or (windows, heads, w w, w w).

        Args:
            q: Queries of all windows. Shape (windows, heads, w w, d).
        """
        side = self.window_size
        if self.rel_pos == "table":
            table = self.relative_position_bias_table.to(q.dtype)
            bias = table[self.relative_position_index.flatten()].unflatten(0, (side**2, side**2))
            return bias.permute(2, 0, 1)
        steps = torch.arange(side, device=q.device)
        index = steps[:, None] - steps + side - 1  # (query, key)
        q = q.unflatten(2, (side, side))
        rows = torch.einsum("...pqd,pkd->...pqk", q, self.rel_pos_h.to(q.dtype)[index])
        columns = torch.einsum("...pqd,qkd->...pqk", q, self.rel_pos_w.to(q.dtype)[index])
        return (rows[..., :, None] + columns[..., None, :]).flatten(4).flatten(2, 3)

    def extra_repr(self) -> str:
        return (
            f"num_heads={self.num_heads}, window_size={self.window_size}, rel_pos={self.rel_pos!r}"
        )


def relative_position_index(side: int) -> Tensor:
    """Return the row of the table for every query and key of a window. Shape (w w, w w)."""
    steps = torch.arange(side)
    row, column = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    below = row[:, None] - row + side - 1
    right = column[:, None] - column + side - 1
    return below * (2 * side - 1) + right


def sample_positions(moves: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the rows Y and the columns X, in pixels, at which each window's keys are taken.

    Args:
        moves: ox, oy, sx, sy of every window and head. Shape (N, heads, 4, nh, nw).
        side: w, the side of a window.

    Returns:
        Two tensors of shape (N, heads, nh, nw, w)
    """
    ox, oy, sx, sy = moves.unsqueeze(-1).unbind(2)
    rows, columns = moves.shape[3:]
    steps = torch.arange(side, device=moves.device, dtype=moves.dtype) - (side - 1) / 2

    def centres(count: int) -> Tensor:
        return torch.arange(count, device=moves.device) * side + (side - 1) / 2

    y = centres(rows)[:, None, None] + (1 + sy) * steps + oy * (rows * side - 1) / (2 * rows)
    x = centres(columns)[:, None] + (1 + sx) * steps + ox * (columns * side - 1) / (2 * columns)
    return y, x


def sampling_grid(y: Tensor, x: Tensor, size: Sequence[int]) -> Tensor:
    """Return what ``grid_sample`` takes, without aligned corners.

    Args:
        y: Rows, in pixels. Shape (N, heads, nh, nw, w).
        x: Columns, of the same shape.
        size: Height and width of the padded image.

    Returns:
        (N heads, windows, w w, 2), the column first
    """
    # Pixel centres of images that reach from -1 to 1: a side of one pixel is no exception.
    y, x = (2 * y + 1) / size[0] - 1, (2 * x + 1) / size[1] - 1
    grid = torch.stack(torch.broadcast_tensors(x[..., None, :], y[..., :, None]), -1)
    return grid.flatten(4, 5).flatten(2, 3).flatten(0, 1)


def _samples(k_v: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Return keys and values at the places of ``grid``, of the shape of the queries.

    Args:
        k_v: Keys and values of every head. Shape (N, heads, 2, d, H, W).
        grid: Places. Shape (N heads, windows, w w, 2).
    """
    heads, _, channels = k_v.shape[1:4]
    images = k_v.flatten(2, 3).flatten(0, 1)
    found = F.grid_sample(images, grid, align_corners=False).unflatten(1, (2, channels))
    k, v = found.unflatten(0, (-1, heads)).permute(2, 0, 4, 1, 5, 3).flatten(1, 2)
    return k, v
