"""Ground truth of one image: labels and masks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .mask_bits import MaskBits


@dataclass(frozen=True)
class MaskTargets:
    """Objects of one image, or its classes in semantic segmentation.

    Attributes:
        labels: (N,) int64
        masks: N masks over the network's input, padding included.
    """

    labels: Tensor
    masks: MaskBits
