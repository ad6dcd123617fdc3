"""CARAFE: content-aware reassembly of features (Wang et al., ICCV 2019, equation 2).

Each output pixel is a weighted sum over the k x k input pixels around the one it was enlarged from.
The channels fall into groups that share their weights; a mask's channels are ordered by group, then
by kernel row, then by kernel column.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._precision import working

__all__ = [
    "carafe_backward",
    "carafe_forward",
    "carafe_naive_backward",
    "carafe_naive_forward",
]


def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Fill ``output`` (N, C, s H, s W).

    Args:
        features: (N, C, H, W).
        masks: (N, group_size * kernel_size², s H, s W).
        group_size: The number of groups of channels.
    """
    # Image by image: the patches take kernel_size² times the features' memory.
    for image in range(len(features)):
        patches = _patches(features[image], kernel_size, group_size)
        weights = _weights(masks[image], group_size, scale_factor)
        output[image] = _join(weights @ patches, output.shape[1:], scale_factor).to(output.dtype)


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Add to ``bottom_grad`` and ``mask_grad`` the gradients of features and masks."""
    height, width = features.shape[2:]
    for image in range(len(features)):
        patches = _patches(features[image], kernel_size, group_size)
        weights = _weights(masks[image], group_size, scale_factor)
        grad = _weights(top_grad[image], group_size, scale_factor)  # (H W groups, s², C / groups)
        mask_grad[image] += _join(grad @ patches.mT, masks.shape[1:], scale_factor)
        grad = (weights.mT @ grad).view(height, width, group_size, kernel_size, kernel_size, -1)
        total = _padded(torch.zeros_like(working(features[image])), kernel_size)
        for row in range(kernel_size):
            for column in range(kernel_size):
                window = total[row : row + height, column : column + width]
                window += grad[:, :, :, row, column].flatten(2)
        margin = kernel_size // 2
        total = total[margin : margin + height, margin : margin + width]
        bottom_grad[image] += total.permute(2, 0, 1)


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """As ``carafe_naive_forward``; ``rfeatures`` keeps the features channels-last for backward."""
    batch, channels, height, width = features.shape
    rfeatures.resize_(batch, height, width, channels).copy_(features.permute(0, 2, 3, 1))
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """As ``carafe_naive_backward``, from the features that ``carafe_forward`` kept."""
    features = rfeatures.permute(0, 3, 1, 2)
    carafe_naive_backward(
        top_grad, features, masks, bottom_grad, mask_grad, kernel_size, group_size, scale_factor
    )


# Below, pixels come first and channels last, so that reading a patch copies whole pixels.


def _padded(feature: Tensor, kernel_size: int) -> Tensor:
    """(C, H, W) -> (H + 2 p, W + 2 p, C) with zeros around and p = kernel_size // 2."""
    return F.pad(feature.permute(1, 2, 0), (0, 0, *[kernel_size // 2] * 4))


def _patches(feature: Tensor, kernel_size: int, groups: int) -> Tensor:
    """(C, H, W) -> (H W groups, kernel_size², C / groups), 0 outside the map."""
    padded = _padded(working(feature), kernel_size)
    patches = padded.unflatten(2, (groups, -1)).unfold(0, kernel_size, 1).unfold(1, kernel_size, 1)
    patches = patches.permute(0, 1, 2, 4, 5, 3)  # H, W, groups, kernel rows, columns, channels
    return patches.reshape(-1, kernel_size * kernel_size, patches.size(-1))


def _weights(enlarged: Tensor, groups: int, scale: int) -> Tensor:
    """(groups * K, s H, s W) -> (H W groups, s², K)."""
    height, width = enlarged.size(1) // scale, enlarged.size(2) // scale
    split = working(enlarged).reshape(groups, -1, height, scale, width, scale)
    return split.permute(2, 4, 0, 3, 5, 1).reshape(
        height * width * groups, scale * scale, split.size(1)
    )


def _join(pixels: Tensor, size: torch.Size, scale: int) -> Tensor:
    """The reverse of ``_weights``: (H W groups, s², K) -> ``size`` = (groups * K, s H, s W)."""
    height, width = size[1] // scale, size[2] // scale
    pixels = pixels.view(height, width, -1, scale, scale, pixels.size(-1))
    return pixels.permute(2, 5, 0, 3, 1, 4).reshape(size)
