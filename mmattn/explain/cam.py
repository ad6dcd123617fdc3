"""Maps from activations and their gradients: the Grad-CAM family and NormGrad, as formulas.

A is the activation of a layer and G = dy/dA, both (K, h, w); y is any scalar. All maps are raw:
whoever draws one cuts it at 0 and scales it.

Sources: Grad-CAM (arXiv:1610.02391), Grad-CAM++ (arXiv:1710.11063), LayerCAM (TIP 2021), HiResCAM
(arXiv:2011.08891), Eigen-CAM (arXiv:2008.00299), NormGrad (Rebuffi et al., CVPR 2020,
arXiv:2004.02866).

With y the mean over a region, the mean of G in Grad-CAM divides by the whole map and forgets where
the gradient was: for regions and detections HiResCAM and LayerCAM say more. If what follows the
layer is linear, HiResCAM sums to y but for the bias.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

#: Methods that need no target: the map is that of the image.
WITHOUT_TARGET = ("eigen-cam",)


def grad_cam(a: Tensor, g: Tensor) -> Tensor:
    """sum_k mean_hw(G_k) A_k"""
    return (g.mean((1, 2), keepdim=True) * a).sum(0)


def grad_cam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """sum_k w_k A_k with w_k = sum_hw alpha relu(G)

    alpha = G^2 / (2 G^2 + (sum_hw A_k) G^3 + 1e-6), and 0 where G is.
    """
    square, cube = g**2, g**3
    alpha = square / (2 * square + a.sum((1, 2), keepdim=True) * cube + 1e-6)
    alpha = torch.where(g == 0, 0.0, alpha)
    return ((alpha * g.relu()).sum((1, 2), keepdim=True) * a).sum(0)


def layer_cam(a: Tensor, g: Tensor) -> Tensor:
    """sum_k relu(G_k) A_k"""
    return (g.relu() * a).sum(0)


def hires_cam(a: Tensor, g: Tensor) -> Tensor:
    """sum_k G_k A_k"""
    return (g * a).sum(0)


def eigen_cam(a: Tensor, g: Tensor | None = None) -> Tensor:
    """Projection of the positions on their first principal direction; needs no gradient.

    Channels are centred. The sign, which is arbitrary, is that of a positive correlation with the
    mean of the channels.
    """
    flat = a.flatten(1).T.double()  # (hw, K)
    centred = flat - flat.mean(0)
    direction = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    projected = centred @ direction
    mean = flat.mean(1)
    if (projected * (mean - mean.mean())).sum() < 0:
        projected = -projected
    return projected.to(a.dtype).view(a.shape[1:])


def _norm(x: Tensor) -> Tensor:
    return x.square().sum(0).sqrt()


def _patches(a: Tensor) -> Tensor:
    """Sum of a map (h, w) over 3 x 3 patches, zeros beyond its edge; of (K, h, w) for each."""
    lead = a.dim() == 2
    x = a[None] if lead else a
    summed = 9 * F.avg_pool2d(x[None], 3, stride=1, padding=1)[0]
    return summed[0] if lead else summed


def norm_grad(a: Tensor, g: Tensor) -> Tensor:
    """|G_u| |A_u| at every position u: the gradient of an identity 1x1 convolution put there."""
    return _norm(g) * _norm(a)


def norm_grad_scaling(a: Tensor, g: Tensor) -> Tensor:
    """|G_u A_u|: the gradient of a scaling by 1 for each channel."""
    return _norm(g * a)


def norm_grad_bias(a: Tensor, g: Tensor) -> Tensor:
    """|G_u|: the gradient of a bias of 0 for each channel."""
    return _norm(g)


def norm_grad_3x3(a: Tensor, g: Tensor) -> Tensor:
    """|G_u| times the norm of the 3x3 patch of A: the gradient of an identity 3x3 convolution."""
    return _norm(g) * _patches(a.square().sum(0)).sqrt()


def norm_grad_depthwise(a: Tensor, g: Tensor) -> Tensor:
    """sqrt(sum_k G_k^2 times the sum of A_k^2 over the 3x3 patch), of a depthwise convolution."""
    return (g.square() * _patches(a.square())).sum(0).sqrt()


def norm_grad_selective(a: Tensor, g: Tensor) -> Tensor:
    """Norm of the positive ones of all products A_k G_k'."""
    positive = a.relu().square().sum(0) * g.relu().square().sum(0)
    negative = (-a).relu().square().sum(0) * (-g).relu().square().sum(0)
    return (positive + negative).sqrt()


#: Method -> the map of A and G, both (K, h, w).
METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "layer-cam": layer_cam,
    "hires-cam": hires_cam,
    "eigen-cam": eigen_cam,
    "norm-grad": norm_grad,
    "norm-grad-scaling": norm_grad_scaling,
    "norm-grad-bias": norm_grad_bias,
    "norm-grad-3x3": norm_grad_3x3,
    "norm-grad-depthwise": norm_grad_depthwise,
    "norm-grad-selective": norm_grad_selective,
}
#: Methods whose maps have values below 0 that mean evidence against.
SIGNED = ("grad-cam", "grad-cam++", "layer-cam", "hires-cam", "eigen-cam")
