"""The loss of Mask2Former (sections 3.2 and 3.3 of arXiv:2112.01527).

After matching, for every one of the layers:
    loss_cls  = 2 CE over all queries, "no object" with weight 0.1, as a weighted mean
    loss_mask = 5 / N sum over pairs of mean BCE
    loss_dice = 5 / N sum over pairs of 1 - (2 sum s t + 1) / (sum s + sum t + 1),  s = sigmoid(m)
over P points of each pair: 3/4 are those of 3 P random ones whose logits are nearest 0, the others
are random. N is the number of objects in a batch, the mean over all GPUs, at least 1.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.errors import ConfigError
from mmattn.layers.checks import require_at_least
from mmattn.ops import autocast_off

from .matcher import Matcher, Matches
from .points import PointDraws, Reader, uncertain_logits
from .predictions import MaskPredictions
from .targets import MaskTargets

logger = logging.getLogger("mmattn")


class MaskMatchingLoss(nn.Module):
    """Matching and losses of all layers, in float32 whatever the network's precision.

    No mask is made at full size but of matched queries, some at a time.

    Args:
        num_classes: Number of classes K, without "no object".
        class_gain: Weight of ``loss_cls``, and of its part in the matching.
        mask_gain: Weight of ``loss_mask``.
        dice_gain: Weight of ``loss_dice``.
        no_object_weight: Weight of the class "no object" among the classes.
        num_points: Points P.
        oversample_ratio: Random points for each that is kept, where points are chosen.
        importance_sample_ratio: Share of points that are chosen.

    Raises:
        ConfigError: A number is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        class_gain: float = 2.0,
        mask_gain: float = 5.0,
        dice_gain: float = 5.0,
        no_object_weight: float = 0.1,
        num_points: int = 12_544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
    ):
        super().__init__()
        require_at_least(1, num_points=num_points)
        if not 0 <= importance_sample_ratio <= 1 or oversample_ratio < 1:
            raise ConfigError(
                "importance_sample_ratio must be from 0 to 1 and oversample_ratio at least 1, got "
                f"{importance_sample_ratio} and {oversample_ratio}"
            )
        gains = (class_gain, mask_gain, dice_gain)
        if min(gains) < 0 or no_object_weight <= 0:  # of images without objects it is all
            raise ConfigError(
                "class_gain, mask_gain and dice_gain must not be negative, and no_object_weight "
                "must be above 0, got "
                f"{gains} and {no_object_weight}"
            )
        self.gains = gains
        self.draws = PointDraws(num_points, oversample_ratio, importance_sample_ratio)
        self.matcher = Matcher(self.draws, gains)
        self.uncertain_logits: Reader = uncertain_logits
        weights = torch.ones(num_classes + 1)
        weights[-1] = no_object_weight
        self.register_buffer("class_weights", weights, persistent=False)
        self.lost = 0

    def forward(
        self, predictions: MaskPredictions, targets: Sequence[MaskTargets]
    ) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            predictions: Of all layers, L.
            targets: Of each image.

        Returns:
            ``loss_cls``, ``loss_mask`` and ``loss_dice`` of the last layer, and those of the others
            with ``d0.`` to ``d{L - 2}.`` in front; ``objects_without_query`` counts what
            images with more objects than queries leave out.

        Raises:
            DataError: A label is not one of the classes.
        """
        matches = self.matcher(predictions, targets)
        lost = sum(len(target.labels) for target in targets) - sum(matches.rows)
        self._tell(lost, targets, predictions.class_logits.shape[2])
        with autocast_off(predictions.mask_features.device.type):
            per_layer = {
                "loss_cls": self._class_losses(predictions.class_logits, matches, targets),
                **self._mask_losses(predictions, matches, targets),
            }
        last = len(predictions.class_logits) - 1
        losses = {
            name if layer == last else f"d{layer}.{name}": values[layer]
            for layer in (last, *range(last))
            for name, values in per_layer.items()
        }
        losses["objects_without_query"] = torch.tensor(float(lost))
        return losses

    def _class_losses(
        self, logits: Tensor, matches: Matches, targets: Sequence[MaskTargets]
    ) -> Tensor:
        """Losses (L,) of logits (L, B, Q, K + 1)."""
        classes = logits.shape[3] - 1
        wanted = torch.full(logits.shape[:3], classes, dtype=torch.long, device=logits.device)
        labels = torch.cat([target.labels for target in targets])
        layers = torch.arange(len(logits), device=logits.device)[:, None]
        wanted[layers, matches.images, matches.queries] = labels[self._numbers(matches, targets)]
        weights = self.get_buffer("class_weights")
        losses = [
            F.cross_entropy(of_layer.flatten(0, 1).float(), wish.flatten(), weights)
            for of_layer, wish in zip(logits, wanted, strict=True)
        ]
        return self.gains[0] * torch.stack(losses)

    def _mask_losses(
        self, predictions: MaskPredictions, matches: Matches, targets: Sequence[MaskTargets]
    ) -> dict[str, Tensor]:
        """Losses (L,) of the masks."""
        layers = torch.arange(len(predictions.mask_embeddings), device=matches.queries.device)
        embeddings = predictions.mask_embeddings[layers[:, None], matches.images, matches.queries]
        logits, points = self.uncertain_logits(
            embeddings, predictions.mask_features, matches.rows, self.draws
        )
        masks = torch.empty_like(points[..., 0])
        start = 0
        for target, count in zip(targets, matches.rows, strict=True):
            part = slice(start, start + count)
            for layer in range(len(masks)):
                masks[layer, part] = target.masks.sampled_each(
                    matches.objects[layer, part], points[layer, part]
                )
            start += count
        number = self._number_of_objects(targets, logits)
        bce, dice = point_losses(logits, masks)
        return {
            "loss_mask": self.gains[1] * bce.sum(1) / number,
            "loss_dice": self.gains[2] * dice.sum(1) / number,
        }

    @staticmethod
    def _numbers(matches: Matches, targets: Sequence[MaskTargets]) -> Tensor:
        """Numbers of the matched objects within the batch, (L, n)."""
        device = matches.objects.device
        counts = torch.tensor([0, *(len(target.labels) for target in targets[:-1])], device=device)
        return matches.objects + counts.cumsum(0)[matches.images]

    @staticmethod
    def _number_of_objects(targets: Sequence[MaskTargets], like: Tensor) -> Tensor:
        number = like.new_tensor(float(sum(len(target.labels) for target in targets)))
        all_reduce(number, op="mean")
        return number.clamp(min=1)

    def _tell(self, lost: int, targets: Sequence[MaskTargets], queries: int) -> None:
        """Warn when images have more objects than queries: at the first, and at each doubling."""
        if lost == 0:
            return
        before, self.lost = self.lost, self.lost + lost
        if before.bit_length() < self.lost.bit_length():
            most = max(len(target.labels) for target in targets)
            logger.warning(
                "an image has %d objects, and there are %d queries: %d objects were left out of "
                "the loss so far; raise num_queries to keep them",
                most,
                queries,
                self.lost,
            )


def point_losses(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return binary cross entropy and Dice loss of each pair, from P points.

    Args:
        logits: (…, P)
        masks: (…, P), from 0 to 1.
    """
    bce = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean(-1)
    inside = logits.sigmoid()
    both = inside.sum(-1) + masks.sum(-1)
    dice = 1 - (2 * (inside * masks).sum(-1) + 1) / (both + 1)
    return bce, dice
