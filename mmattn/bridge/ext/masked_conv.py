"""The two halves of a convolution that is computed at chosen pixels only (one image, stride 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["masked_col2im_forward", "masked_im2col_forward"]


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Fill ``col`` (C * kernel_h * kernel_w, M) with what the kernel reads at each chosen pixel.

    Args:
        im: (1, C, H, W).
        mask_h_idx: (M,), rows of the chosen output pixels.
        mask_w_idx: (M,), their columns.
    """
    padded = F.pad(im[0], (pad_w, pad_w, pad_h, pad_h))
    y = mask_h_idx + torch.arange(kernel_h, device=im.device)[:, None, None]
    x = mask_w_idx + torch.arange(kernel_w, device=im.device)[None, :, None]
    col.copy_(padded[:, y, x].reshape(col.shape))


def masked_col2im_forward(
    col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Write ``col`` (C, M) to the chosen pixels of ``im`` (1, C, height, width)."""
    im[0, :, mask_h_idx, mask_w_idx] = col.to(im.dtype)
