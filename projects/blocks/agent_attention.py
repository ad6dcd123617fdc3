"""Agent attention (Han et al., ECCV 2024, arXiv:2312.08874).

A few agents, n means of the queries, attend to all N = H W positions and collect their values; then
every position attends to the agents. Two softmaxes, of width N and n, replace one of N x N. In each
head of d channels,

    A = cells' means of q;    V_A = softmax_positions(A k^T / sqrt(d) + B1) v
    O = softmax_agents(q A^T / sqrt(d) + B2) V_A;    y = W_o (O + DWC(v))

with q, k, v = W x, and DWC a depthwise 3x3 convolution of v as a map. In plain torch, for a head::

    a = F.adaptive_avg_pool2d(q.unflatten(1, (h, w)).permute(0, 3, 1, 2), agents).flatten(2).mT
    collected = (a @ k.mT / d**0.5 + b1).softmax(-1) @ v
    out = (q @ a.mT / d**0.5 + b2).softmax(-1) @ collected

B1 and B2 come from six tables: one of 7 x 7 blocks, one of rows and one of columns for each, stored
for a grid of agents and a size of map, and resized to those at hand, bilinearly and without aligned
corners.

Differs from the authors' code: tables are resized to the agents at hand while they are small, which
changes nothing else, and are not repeated for the images of a batch. They may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.attention import attend
from mmattn.layers.checks import as_pair, require_odd
from mmattn.layers.depthwise import DepthwiseConv2d
from mmattn.layers.heads import (
    merge_heads,
    resolve_num_heads,
    split_heads,
    to_feature_map,
    to_tokens,
)
from mmattn.layers.initial import init_transformer_layers
from mmattn.layers.pooling import adaptive_avg_pool2d
from mmattn.ops import accumulate_dtype, is_exporting
from mmattn.registry import MODELS

_BLOCK = 7  # side of the tables of blocks


@MODELS.register_module()
class AgentAttention(nn.Module):
    """Attention of all positions to all others by way of a few agents.

    Cost grows with H W. The block adds no shortcut; a host does::

        x = x + AgentAttention(64)(norm(x))

    Args:
        in_channels: Channels C of the input.
        num_heads: Number of heads, which divides C; None takes C // 32, at least 1.
        agents: Rows and columns of the grid of agents.
        stored_agents: Rows and columns of agents that the tables hold; by default ``agents``. The
            authors train with few and predict with more.
        bias_size: Height and width that the tables of rows and columns hold; None leaves all tables
            out.
        qkv_bias: Whether q, k and v have a bias.
        kernel_size: Side of the kernel of DWC, odd.

    Raises:
        ValueError: A number is out of its range, or the heads do not divide C.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Example:
        >>> import torch
        >>> AgentAttention(64)(torch.ones(2, 64, 5, 7)).shape
        torch.Size([2, 64, 5, 7])
    """

    usual_place: ClassVar[str] = (
        "the attention of the blocks of a Swin or a PVT, the whole map as one window: stages 1 to "
        "3 of a Swin-T, 1 and 2 of a Swin-S, all four of a PVT"
    )

    def __init__(
        self,
        in_channels: int,
        *,
        num_heads: int | None = None,
        agents: Sequence[int] = (7, 7),
        stored_agents: Sequence[int] | None = None,
        bias_size: Sequence[int] | None = (14, 14),
        qkv_bias: bool = True,
        kernel_size: int = 3,
    ):
        super().__init__()
        self.num_heads = heads = resolve_num_heads(in_channels, num_heads)
        self.agents = as_pair("agents", agents)
        stored = self.agents if stored_agents is None else as_pair("stored_agents", stored_agents)
        self.stored_agents = stored
        require_odd(kernel_size=kernel_size)
        self.qkv = nn.Linear(in_channels, 3 * in_channels, bias=qkv_bias)
        self.proj = nn.Linear(in_channels, in_channels)
        self.dwc = DepthwiseConv2d(in_channels, kernel_size)
        self.has_tables = bias_size is not None
        if bias_size is not None:
            height, width = as_pair("bias_size", bias_size)
            count = stored[0] * stored[1]
            # The authors' names: a for agents, n for positions, h and w for rows and columns.
            self.an_bias = nn.Parameter(torch.empty(heads, count, _BLOCK, _BLOCK))
            self.na_bias = nn.Parameter(torch.empty(heads, count, _BLOCK, _BLOCK))
            self.ah_bias = nn.Parameter(torch.empty(1, heads, count, height, 1))
            self.aw_bias = nn.Parameter(torch.empty(1, heads, count, 1, width))
            self.ha_bias = nn.Parameter(torch.empty(1, heads, height, 1, count))
            self.wa_bias = nn.Parameter(torch.empty(1, heads, 1, width, count))
        self.init_weights()

    def init_weights(self) -> None:
        """Set the authors' initial state, also after a network has initialised all its layers."""
        init_transformer_layers(self.qkv, self.proj)
        self.dwc.reset_parameters()
        for name, table in self.named_parameters(recurse=False):
            if name.endswith("_bias"):
                nn.init.trunc_normal_(table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        q, k, v = self.qkv(to_tokens(x)).chunk(3, 2)  # (N, H W, C)
        local = to_tokens(self.dwc(to_feature_map(v, size)))
        to_positions, to_agents = self._biases(size, q.dtype)
        agents = split_heads(self._agents(q, size), self.num_heads)
        q, k, v = (split_heads(tokens, self.num_heads) for tokens in (q, k, v))
        collected = attend(agents, k, v, to_positions)
        out = attend(q, agents, collected, to_agents)
        return to_feature_map(self.proj(merge_heads(out) + local), size)

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return ``"agents"``: how much each agent collects of every position, mean of heads.

        Shape (N, n, H, W); the maps of an agent sum to 1.
        """
        size = x.shape[2:]
        q, k, _ = self.qkv(to_tokens(x)).chunk(3, 2)
        agents = split_heads(self._agents(q, size), self.num_heads)
        k = split_heads(k, self.num_heads)
        dtype = accumulate_dtype(x.dtype)
        bias = self._biases(size, dtype)[0]
        logits = agents.to(dtype) @ k.to(dtype).mT / k.shape[3] ** 0.5
        weights = (logits if bias is None else logits + bias).softmax(-1)
        return {"agents": weights.mean(1).unflatten(2, tuple(size))}

    def _agents(self, q: Tensor, size: Sequence[int]) -> Tensor:
        """Return the cells' means of the queries. Shape (N, n, C)."""
        pooled = adaptive_avg_pool2d(to_feature_map(q, size), self.agents)
        agents = to_tokens(pooled)
        # torch's fast attention takes no other layout; the exporter to ONNX fails on its result.
        return agents if is_exporting() else agents.contiguous()

    def _biases(
        self, size: Sequence[int], dtype: torch.dtype
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return B1, (1, heads, n, H W), and B2, (1, heads, H W, n); None if left out."""
        if not self.has_tables:
            return None, None
        ah, aw = self.ah_bias.squeeze(0).squeeze(3), self.aw_bias.squeeze(0).squeeze(2)
        ha = self.ha_bias.squeeze(0).squeeze(2).transpose(1, 2)
        wa = self.wa_bias.squeeze(0).squeeze(1).transpose(1, 2)
        to_positions = self._resized(self.an_bias, ah, aw, size)
        to_agents = self._resized(self.na_bias, ha, wa, size).transpose(1, 2)
        return to_positions.unsqueeze(0).to(dtype), to_agents.unsqueeze(0).to(dtype)

    def _resized(
        self, blocks: Tensor, rows: Tensor, columns: Tensor, size: Sequence[int]
    ) -> Tensor:
        """Return the sum of three tables for the agents and the size at hand.

        Resizing a sum of rows and columns is the same as resizing each along its own axis.

        Args:
            blocks: Shape (heads, stored agents, 7, 7).
            rows: Shape (heads, stored agents, height).
            columns: Shape (heads, stored agents, width).
            size: Height H and width W.

        Returns:
            (heads, n, H W)
        """
        blocks = F.interpolate(self._for_agents(blocks), tuple(size), mode="bilinear")
        rows = F.interpolate(self._for_agents(rows), size[0], mode="linear")
        columns = F.interpolate(self._for_agents(columns), size[1], mode="linear")
        return (blocks + rows.unsqueeze(3) + columns.unsqueeze(2)).flatten(2)

    def _for_agents(self, table: Tensor) -> Tensor:
        """Resize the grid of agents: (heads, stored agents, …) -> (heads, n, …)."""
        if self.agents == self.stored_agents:
            return table
        last = table.flatten(2).transpose(1, 2).unflatten(2, self.stored_agents)
        resized = F.interpolate(last, self.agents, mode="bilinear").flatten(2)
        return resized.transpose(1, 2).unflatten(2, table.shape[2:])

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, agents={self.agents}, tables={self.has_tables}"
