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
        group_size: the number of groups of channels.
    """
    # Image by image: the patches take kernel_size² times the features' memory.
    for image in range(len(features)):
        patches = _patches(features[image], kernel_size, group_size)
        weights = _split(masks[image], group_size, scale_factor)
        enlarged = torch.einsum("gckhw,gkhiwj->gchiwj", patches, weights)
        output[image] = enlarged.reshape(output.shape[1:]).to(output.dtype)


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
    size = features.shape[2:]
    for image in range(len(features)):
        patches = _patches(features[image], kernel_size, group_size)
        weights = _split(masks[image], group_size, scale_factor)
        grad = _split(top_grad[image], group_size, scale_factor)  # g, channel of g, h, i, w, j
        mask_grad[image] += torch.einsum("gckhw,gchiwj->gkhiwj", patches, grad).reshape(
            masks.shape[1:]
        )
        grad = torch.einsum("gchiwj,gkhiwj->gckhw", grad, weights).reshape(-1, size.numel())
        bottom_grad[image] += F.fold(grad, size, kernel_size, padding=kernel_size // 2)


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


def _patches(feature: Tensor, kernel_size: int, groups: int) -> Tensor:
    """(C, H, W) -> (groups, C / groups, kernel_size², H, W), 0 outside the map."""
    patches = F.unfold(working(feature)[None], kernel_size, padding=kernel_size // 2)
    return patches.view(groups, -1, kernel_size * kernel_size, *feature.shape[1:])


def _split(enlarged: Tensor, groups: int, scale: int) -> Tensor:
    """(groups * K, s H, s W) -> (groups, K, H, s, W, s)."""
    height, width = enlarged.size(1) // scale, enlarged.size(2) // scale
    return working(enlarged).reshape(groups, -1, height, scale, width, scale)
