"""Gives two losses of mmseg a finite value with a graph where all pixels are ignored.

The Lovasz-softmax loss of no pixel is the mean of nothing, nan; ``OhemCrossEntropy`` of no pixel is
a constant, along which no gradient flows.
"""

from __future__ import annotations

import functools
from types import ModuleType

from torch import Tensor

from ._replacing import replace


def patch_lovasz(module: ModuleType) -> None:
    """Let ``lovasz_softmax_flat`` of no pixel be a zero, as ``lovasz_hinge_flat`` is."""
    original = module.lovasz_softmax_flat
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def lovasz_softmax_flat(probs: Tensor, labels: Tensor, *args, **kwargs) -> Tensor:
        if not probs.numel():
            return probs.sum() * 0.0
        return original(probs, labels, *args, **kwargs)

    replace(module, "lovasz_softmax_flat", lovasz_softmax_flat)


def patch_ohem(module: ModuleType) -> None:
    """Let the loss of no pixel depend on the scores, with gradients of zero."""
    forward = module.OhemCrossEntropy.forward
    if hasattr(forward, "__wrapped__"):
        return

    @functools.wraps(forward)
    def with_graph(self, score: Tensor, target: Tensor) -> Tensor:
        loss = forward(self, score, target)
        return loss if loss.requires_grad or not score.requires_grad else loss + score.sum() * 0.0

    module.OhemCrossEntropy.forward = with_graph
