"""Matching of queries with objects at least cost (section 3.3.1 of arXiv:2107.06278, with points).

    cost(i, j) = - 2 p_i(c_j) + 5 BCE(m_i, t_j) + 5 Dice(m_i, t_j)
over P random points, which all queries i and objects j of an image share:
    BCE = mean log(1 + e^m) - m t
    Dice = 1 - (2 sum s t + 1) / (sum s + sum t + 1),   s = sigmoid(m)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from mmattn.errors import DataError
from mmattn.ops import autocast_off

from .points import PointDraws, features_at
from .predictions import MaskPredictions
from .targets import MaskTargets

#: Cost of a pair that has none, because a prediction is not finite; the loss will tell.
_NO_COST = 1e8


@dataclass(frozen=True)
class Matches:
    """Pairs of every layer; an image has the same number of them in each.

    Attributes:
        queries: (L, n) int64; those of the first image come first, in ascending order.
        objects: (L, n) int64, numbers within the image.
        rows: How many of the n are of each image.
    """

    queries: Tensor
    objects: Tensor
    rows: list[int]

    @property
    def images(self) -> Tensor:
        """Image of each of the n pairs."""
        device = self.queries.device
        counts = torch.tensor(self.rows, device=device)
        return torch.repeat_interleave(
            torch.arange(len(self.rows), device=device), counts, output_size=sum(self.rows)
        )


def pair_costs(
    class_logits: Tensor,
    mask_logits: Tensor,
    labels: Tensor,
    masks: Tensor,
    gains: tuple[float, float, float] = (2.0, 5.0, 5.0),
) -> Tensor:
    """Return the cost of every pair, (Q, N), finite for every finite input.

    Args:
        class_logits: (Q, K + 1), float32.
        mask_logits: (Q, P) at some points, float32.
        labels: (N,)
        masks: (N, P), from 0 to 1.
        gains: Weights of class, BCE and Dice.
    """
    classes = class_logits.softmax(1)[:, labels]
    points = mask_logits.shape[1]
    # Divided in front of the product: sums of large logits stay small.
    bce = F.softplus(mask_logits).mean(1, keepdim=True) - (mask_logits / points) @ masks.t()
    inside = mask_logits.sigmoid()
    both = inside.sum(1, keepdim=True) + masks.sum(1)
    dice = 1 - (2 * inside @ masks.t() + 1) / (both + 1)
    return -gains[0] * classes + gains[1] * bce + gains[2] * dice


class Matcher:
    """Match all layers and images, with one transfer from the device to the CPU.

    Args:
        draws: The random points.
        gains: Weights of class, BCE and Dice.
    """

    def __init__(self, draws: PointDraws, gains: tuple[float, float, float] = (2.0, 5.0, 5.0)):
        self.draws = draws
        self.gains = gains

    @torch.no_grad()
    def __call__(self, predictions: MaskPredictions, targets: Sequence[MaskTargets]) -> Matches:
        """Return pairs of all layers; an image with more objects than queries keeps as many.

        Raises:
            DataError: A label is not one of the classes.
        """
        features = predictions.mask_features.detach()
        device = features.device
        with autocast_off(device.type):
            costs = [
                self._costs(logits[image].float(), embeddings[image], features[image], target)
                for logits, embeddings in zip(
                    predictions.class_logits, predictions.mask_embeddings, strict=True
                )
                for image, target in enumerate(targets)
            ]
            wrong = [self._wrong(predictions, target) for target in targets]
            numbers = torch.cat([*(cost.flatten() for cost in costs), *wrong]).cpu().numpy()
        self._check(numbers[len(numbers) - len(targets) :], predictions, targets)
        pairs, start = [], 0
        for cost in costs:
            matrix = numbers[start : start + cost.numel()].reshape(cost.shape)
            pairs.append(np.stack(linear_sum_assignment(matrix)))
            start += cost.numel()
        layers = len(predictions.class_logits)
        per_layer = [
            np.concatenate(pairs[index * len(targets) : (index + 1) * len(targets)], axis=1)
            for index in range(layers)
        ]
        both = torch.from_numpy(np.stack(per_layer)).to(device)
        rows = [pair.shape[1] for pair in pairs[: len(targets)]]
        return Matches(both[:, 0], both[:, 1], rows)

    def _costs(
        self, class_logits: Tensor, embeddings: Tensor, features: Tensor, target: MaskTargets
    ) -> Tensor:
        """Costs of one image and layer, (Q, N)."""
        points = self.draws.for_matching(features.device)
        if len(target.labels) == 0:
            return class_logits.new_empty(len(class_logits), 0)
        logits = embeddings.detach() @ features_at(features, points).t()
        labels = target.labels.clamp(0, class_logits.shape[1] - 2)  # others are told apart later
        masks = target.masks.sampled(points)
        costs = pair_costs(class_logits.detach(), logits, labels, masks, self.gains)
        return costs.nan_to_num(_NO_COST, _NO_COST, _NO_COST)

    def _wrong(self, predictions: MaskPredictions, target: MaskTargets) -> Tensor:
        """How many labels are no class; read with the costs, which spares a wait for the GPU."""
        classes = predictions.class_logits.shape[-1] - 1
        wrong = (target.labels < 0) | (target.labels >= classes)
        return wrong.sum().to(torch.float32)[None]

    def _check(
        self, wrong: np.ndarray, predictions: MaskPredictions, targets: Sequence[MaskTargets]
    ) -> None:
        classes = predictions.class_logits.shape[-1] - 1
        for image in np.flatnonzero(wrong).tolist():
            found = sorted(set(targets[image].labels.tolist()))
            raise DataError(
                f"image {image} of the batch has labels {found}, and the head has {classes} "
                f"classes, 0 to {classes - 1}: set its number of classes to the dataset's, or map "
                "the labels"
            )
