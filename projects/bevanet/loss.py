"""The cross-entropies of BEVANet's training objective, as the authors' code computes them.

With w_k the weight of class k, p_i the probability of pixel i's class and l_i = -w log p_i:

    all pixels    L = sum_i l_i / (N H W), over the pixels that are not ignored
    hard pixels   L = mean of l_i over {i: p_i < t},   t = max(0.9, p of rank 131072)

Neither divides by the weights. mmseg's losses differ: ``CrossEntropyLoss`` with class weights
divides by their sum over the labelled pixels, and ``OhemCrossEntropy`` is NaN where no pixel is
below the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.layers.checks import require_at_least
from mmattn.registry import MODELS


class _WeightedPixels(nn.Module):
    """Base class: class weights, a weight of the loss, a name in the log."""

    def __init__(
        self,
        *,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = "loss_ce",
    ):
        super().__init__()
        weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        # It follows the model to its device, but is not saved with the weights.
        self.register_buffer("class_weight", weight, persistent=False)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def pixel_losses(self, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        """Return l_i, 0 at ignored pixels, at least float32. Shape (N, H, W)."""
        if logits.dtype not in (torch.float32, torch.float64):
            logits = logits.float()
        weight = self.class_weight
        if weight is not None:
            if len(weight) != logits.shape[1]:
                raise ValueError(
                    f"class_weight has {len(weight)} numbers for {logits.shape[1]} classes"
                )
            weight = weight.to(logits.dtype)
        return F.cross_entropy(
            logits, labels, weight=weight, ignore_index=ignore_index, reduction="none"
        )


@MODELS.register_module()
class AllPixelCrossEntropy(_WeightedPixels):
    """Weighted cross-entropy, averaged over all pixels; ignored ones count as 0.

    Args:
        class_weight: Weight of each class; None weights all equally.
        loss_weight: Weight of the loss.
        loss_name: Name in the log of heads with this loss only.
    """

    def forward(
        self, logits: Tensor, labels: Tensor, *, ignore_index: int = 255, weight: None = None
    ) -> Tensor:
        """Return the loss, a scalar.

        Args:
            logits: Shape (N, K, H, W).
            labels: Shape (N, H, W), integer.
            ignore_index: Label of pixels to ignore.
            weight: Weights per pixel, which mmseg's heads with a sampler pass; must be None.
        """
        _require_no_weight(weight)
        return self.loss_weight * self.pixel_losses(logits, labels, ignore_index).mean()


@MODELS.register_module()
class HardPixelCrossEntropy(_WeightedPixels):
    """Weighted cross-entropy over the hard pixels of the batch (online hard example mining).

    Hard are pixels whose own class has a probability below ``threshold``; where there are no more
    than ``min_kept`` of them, the ``min_kept`` of lowest probability. A batch without labelled
    pixels costs 0, and so does one of equally certain pixels, where the authors' code gives NaN.

    Args:
        threshold: Probability below which a pixel is hard.
        min_kept: Minimum number of hard pixels in the batch of one device.
        class_weight: Weight of each class; None weights all equally.
        loss_weight: Weight of the loss.
        loss_name: Name in the log of heads with this loss only.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.9,
        min_kept: int = 131072,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = "loss_ohem",
    ):
        super().__init__(class_weight=class_weight, loss_weight=loss_weight, loss_name=loss_name)
        require_at_least(1, min_kept=min_kept)
        self.threshold = threshold
        self.min_kept = min_kept

    def forward(
        self, logits: Tensor, labels: Tensor, *, ignore_index: int = 255, weight: None = None
    ) -> Tensor:
        """Return the loss, a scalar.

        Args:
            logits: Shape (N, K, H, W).
            labels: Shape (N, H, W), integer.
            ignore_index: Label of pixels to ignore.
            weight: Weights per pixel, which mmseg's heads with a sampler pass; must be None.
        """
        _require_no_weight(weight)
        labelled = labels != ignore_index
        losses = self.pixel_losses(logits, labels, ignore_index)[labelled]  # (P,)
        with torch.no_grad():
            hard = self._hard(logits, labels, labelled)
        # Not .mean(): it is NaN where nothing is left.
        return self.loss_weight * losses[hard].sum() / hard.sum().clamp_min(1)

    def _hard(self, logits: Tensor, labels: Tensor, labelled: Tensor) -> Tensor:
        """Return which of the P labelled pixels are hard. Shape (P,), boolean."""
        own = labels.masked_fill(~labelled, 0)[:, None]
        if logits.dtype not in (torch.float32, torch.float64):
            logits = logits.float()
        probability = logits.softmax(1).gather(1, own)[:, 0][labelled]  # (P,)
        # Not "<": a NaN probability has to reach the loss, or nobody notices it.
        hard = ~(probability >= self.threshold)
        count = len(probability)
        if count == 0 or hard.sum() > self.min_kept:
            return hard  # the probability of that rank is below the threshold
        rank = min(self.min_kept, count - 1)
        return ~(probability >= probability.kthvalue(rank + 1).values.clamp_min(self.threshold))


def _require_no_weight(weight: Tensor | None) -> None:
    if weight is not None:
        raise ValueError(
            "BEVANet's losses take no weights per pixel: leave the head's sampler out, and weigh "
            "classes with class_weight"
        )
