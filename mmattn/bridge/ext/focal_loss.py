"""Focal loss (Lin et al., ICCV 2017, equation 5), per element, and its gradient.

Logarithms are taken of the logits where they are known, so that far logits keep their true loss;
mmcv's kernels stop at the smallest float.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ._precision import working

__all__ = [
    "sigmoid_focal_loss_backward",
    "sigmoid_focal_loss_forward",
    "softmax_focal_loss_backward",
    "softmax_focal_loss_forward",
]


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N, C) with each logit's loss.

    Args:
        input: (N, C), logits.
        target: (N,), the positive class; any number outside [0, C) means background.
        weight: (C,) or empty: factor for a sample of that class, 1 for background.
    """
    logits = working(input)
    p = logits.sigmoid()
    positive = _one_hot(target, p)
    loss = torch.where(
        positive,
        -alpha * (1 - p).pow(gamma) * F.logsigmoid(logits),
        -(1 - alpha) * p.pow(gamma) * F.logsigmoid(-logits),
    )
    output.copy_(_weighted(loss, target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` (N, C) with the derivative of each loss by its logit."""
    logits = working(input)
    p = logits.sigmoid()
    q = (-logits).sigmoid()  # 1 - p without cancellation
    positive = _one_hot(target, p)
    grad = torch.where(
        positive,
        -alpha * q.pow(gamma) * (q - gamma * p * F.logsigmoid(logits)),
        -(1 - alpha) * p.pow(gamma) * (gamma * q * F.logsigmoid(-logits) - p),
    )
    grad_input.copy_(_weighted(grad, target, weight))


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` (N,) with each sample's loss.

    Args:
        input: (N, C), probabilities (mmcv's Python side has taken the softmax).
        target: (N,), the class; a negative one is ignored (loss 0).
        weight: (C,) or empty: factor for a sample of that class.
    """
    p = _probability(input, target)
    loss = -alpha * (1 - p).pow(gamma) * _log(p)
    output.copy_(_weighted(loss * (target >= 0), target, weight))


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``grad_input`` (N, C) with the derivative of each sample's loss by its logits.

    ``buff`` (N,) receives the loss' derivative by the logit of the target class over ``1 - p``.
    """
    p = _probability(input, target)
    q = 1 - p
    # q^(gamma - 1) is infinite at q = 0 for gamma < 1, where its factor log(p) is 0.
    focusing = gamma * q.clamp(min=torch.finfo(p.dtype).tiny).pow(gamma - 1) * p * _log(p)
    factor = alpha * (focusing - q.pow(gamma))
    factor = _weighted(factor * (target >= 0), target, weight)
    buff.copy_(factor)
    probabilities = working(input)
    grad_input.copy_(factor[:, None] * (_one_hot(target, probabilities).to(p) - probabilities))


def _one_hot(target: Tensor, like: Tensor) -> Tensor:
    return target[:, None] == torch.arange(like.size(1), device=target.device)


def _probability(probabilities: Tensor, target: Tensor) -> Tensor:
    return working(probabilities).gather(1, target.clamp(min=0)[:, None]).squeeze(1)


def _log(p: Tensor) -> Tensor:
    return p.clamp(min=torch.finfo(p.dtype).tiny).log()


def _weighted(values: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """``values`` (N, ...) times the class weight of each sample, 1 for no class."""
    if weight.numel() == 0:
        return values
    known = (target >= 0) & (target < len(weight))
    factor = working(weight)[target.clamp(0, len(weight) - 1)]
    factor = torch.where(known, factor, torch.ones_like(factor))
    return values * factor.view(-1, *[1] * (values.dim() - 1))
