"""What the network predicts, without the masks themselves: they are products of what is here."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmattn.ops import autocast_off


@dataclass(frozen=True)
class MaskPredictions:
    """Predictions of one or more layers for a batch; all of masks is float32.

    Attributes:
        class_logits: (L, B, Q, K + 1); the last class is "no object".
        mask_embeddings: (L, B, Q, C)
        mask_features: (B, C, h, w)
    """

    class_logits: Tensor
    mask_embeddings: Tensor
    mask_features: Tensor

    def mask_logits(self, layer: int = -1) -> Tensor:
        """Return the logits of one layer's masks, (B, Q, h, w)."""
        return mask_logits(self.mask_embeddings[layer], self.mask_features)


def mask_logits(embeddings: Tensor, features: Tensor) -> Tensor:
    """Multiply embeddings (B, Q, C) with the features (B, C, h, w) of every pixel: (B, Q, h, w)."""
    with autocast_off(features.device.type):
        return (embeddings @ features.flatten(2)).unflatten(2, features.shape[2:])
