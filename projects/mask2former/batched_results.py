"""Results of a batch as tensors, without loops over images or rows: for exported graphs.

Each has its slow twin in ``postprocess``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def batched_instances(
    class_logits: Tensor,
    mask_logits: Tensor,
    size: tuple[int, int],
    num_things: int,
    max_per_image: int = 100,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best pairs of a query and a class, see ``instances``; all masks are made at once.

    Args:
        class_logits: (B, Q, K + 1)
        mask_logits: (B, Q, h, w)
        size: Height and width of the results.
        num_things: Number of classes of things; pairs of others get the score -1.
        max_per_image: How many pairs are chosen.

    Returns:
        Labels (B, N), scores (B, N) and masks (B, N, H, W) bool.
    """
    probabilities = class_logits.softmax(2)[..., :-1]
    classes = probabilities.shape[2]
    count = min(max_per_image, classes * probabilities.shape[1])
    best, order = probabilities.flatten(1).topk(count)
    labels, queries = order % classes, order // classes
    logits = F.interpolate(mask_logits, size, mode="bilinear", align_corners=False)
    inside = logits > 0
    total = (logits.sigmoid() * inside).sum((2, 3))
    quality = total / (inside.sum((2, 3)) + 1e-6)
    scores = torch.where(labels < num_things, best * quality.gather(1, queries), -1.0)
    images = torch.arange(queries.shape[0], device=queries.device)[:, None]
    return labels, scores, inside[images, queries]


def batched_semantic_scores(
    class_logits: Tensor, mask_logits: Tensor, size: tuple[int, int]
) -> Tensor:
    """Return the scores of every class and pixel, see ``semantic_scores``.

    Args:
        class_logits: (B, Q, K + 1)
        mask_logits: (B, Q, h, w)
        size: Height and width of the results.

    Returns:
        (B, K, H, W)
    """
    classes = class_logits.softmax(2)[..., :-1].transpose(1, 2)
    masks = F.interpolate(mask_logits, size, mode="bilinear", align_corners=False).sigmoid()
    return (classes @ masks.flatten(2)).unflatten(2, size)
