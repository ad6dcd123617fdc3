"""PSANet's masks (Zhao et al., ECCV 2018): from relative to absolute positions.

A mask gives each position (h, w) one number per displacement; the window of displacements is
cut off at the feature map's border. "Distribute" spreads position (h, w)'s numbers over the map,
"collect" gathers at (h, w) what the others say of it: the transposed placement.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["psamask_backward", "psamask_forward"]

_COLLECT = 0


def psamask_forward(
    input: Tensor,
    output: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Fill ``output`` (N, H W, H, W) from ``input`` (N, h_mask * w_mask, H, W).

    Displacement (dy, dx) of a position has the mask channel
    ``(dy + half_h_mask) * w_mask + dx + half_w_mask``.

    Args:
        psa_type: 0 collect: channel = the other position, pixel = (h, w); 1 distribute: the
            reverse.
    """
    y, x = _positions(h_feature, w_feature, input.device)
    row = y[:, None] - y + half_h_mask  # (other position, position)
    column = x[:, None] - x + half_w_mask
    within = (row >= 0) & (row < h_mask) & (column >= 0) & (column < w_mask)
    channel = torch.where(within, row * w_mask + column, 0)
    spread = input.flatten(2).gather(1, channel.expand(num_, -1, -1)) * within
    if psa_type != _COLLECT:
        spread = spread.transpose(1, 2)
    output.copy_(spread.reshape(output.shape))


def psamask_backward(
    grad_output: Tensor,
    grad_input: Tensor,
    psa_type: int,
    num_: int,
    h_feature: int,
    w_feature: int,
    h_mask: int,
    w_mask: int,
    half_h_mask: int,
    half_w_mask: int,
) -> None:
    """Fill ``grad_input`` (N, h_mask * w_mask, H, W); displacements off the map get 0."""
    y, x = _positions(h_feature, w_feature, grad_output.device)
    dy, dx = _positions(h_mask, w_mask, grad_output.device)
    other_y = dy[:, None] - half_h_mask + y  # (displacement, position)
    other_x = dx[:, None] - half_w_mask + x
    within = (other_y >= 0) & (other_y < h_feature) & (other_x >= 0) & (other_x < w_feature)
    other = torch.where(within, other_y * w_feature + other_x, 0)
    grad = grad_output.flatten(2)
    if psa_type != _COLLECT:
        grad = grad.transpose(1, 2)
    grad = grad.gather(1, other.expand(num_, -1, -1)) * within
    grad_input.copy_(grad.view(grad_input.shape))


def _positions(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns of all positions, (height * width,) each."""
    index = torch.arange(height * width, device=device)
    return index // width, index % width
