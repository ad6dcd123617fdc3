"""Two steps of a detector's test as operators whose outputs have fixed shapes, so that they export.

``keep_top_scores`` and ``multiclass_nms`` of ``torch.ops.mmattn_export`` are plain torch here, one
image and one class at a time; formats translate them into operators of their own
(``formats/onnx_selection.py``). Left-out candidates are marked by the score -1 instead of being
removed, because a number of candidates that depends on the image has no place in an exported graph.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmattn.detections.detections import suppress

#: Score of a candidate that is left out, and of rows that hold no detection.
LEFT_OUT = -1.0


@torch.library.custom_op("mmattn_export::keep_top_scores", mutates_args=())
def keep_top_scores(scores: Tensor, count: int, threshold: float) -> Tensor:
    """Keep the best scores above a threshold, per image, and mark all others by -1.

    Args:
        scores: (N, A, C) class scores of one pyramid level.
        count: Number of (candidate, class) pairs kept per image, mmdet's ``nms_pre``; -1 keeps all.
        threshold: Smallest score, exclusive.

    Returns:
        (N, A, C), ``scores`` or -1.
    """
    flat = scores.flatten(1)
    kept = torch.where(flat > threshold, flat, LEFT_OUT)
    if count >= 0:
        values, index = kept.topk(min(count, kept.shape[1]), dim=1)
        kept = torch.full_like(kept, LEFT_OUT).scatter(1, index, values)
    return kept.view_as(scores)


@keep_top_scores.register_fake
def _(scores: Tensor, count: int, threshold: float) -> Tensor:
    return torch.empty_like(scores)


@torch.library.custom_op("mmattn_export::multiclass_nms", mutates_args=())
def multiclass_nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, max_per_image: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Suppress overlapping boxes class by class and keep the best of each image.

    Args:
        boxes: (N, A, 4) left, top, right, bottom.
        scores: (N, A, C); -1 for candidates that do not take part.
        iou_threshold: A box that overlaps a better one of its class by more is suppressed.
        max_per_image: K, rows of the outputs.

    Returns:
        Boxes (N, K, 4), scores (N, K) and labels (N, K), best first, and the number of detections
        (N,). Rows beyond that number hold zeros, the score -1 and the label -1.
    """
    batch, _, classes = scores.shape
    out_boxes = boxes.new_zeros(batch, max_per_image, 4)
    out_scores = scores.new_full((batch, max_per_image), LEFT_OUT)
    out_labels = torch.full((batch, max_per_image), -1, dtype=torch.int64, device=boxes.device)
    counts = torch.zeros(batch, dtype=torch.int64, device=boxes.device)
    for image in range(batch):
        found = [
            (float(scores[image, index, label]), label, index)
            for label in range(classes)
            for index in _suppress(boxes[image], scores[image, :, label], iou_threshold)
        ]
        found.sort(key=lambda entry: -entry[0])
        del found[max_per_image:]
        counts[image] = len(found)
        for row, (score, label, index) in enumerate(found):
            out_boxes[image, row] = boxes[image, index]
            out_scores[image, row] = score
            out_labels[image, row] = label
    return out_boxes, out_scores, out_labels, counts


@multiclass_nms.register_fake
def _(
    boxes: Tensor, scores: Tensor, iou_threshold: float, max_per_image: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch = boxes.shape[0]
    return (
        boxes.new_empty(batch, max_per_image, 4),
        scores.new_empty(batch, max_per_image),
        torch.empty(batch, max_per_image, dtype=torch.int64, device=boxes.device),
        torch.empty(batch, dtype=torch.int64, device=boxes.device),
    )


def _suppress(boxes: Tensor, scores: Tensor, iou_threshold: float) -> list[int]:
    """Return the indices that stay of one class, (A, 4) and (A,), best first."""
    left = torch.nonzero(scores > LEFT_OUT / 2).flatten()
    left = left[scores[left].argsort(descending=True, stable=True)]
    return left[suppress(boxes[left].cpu().numpy(), iou_threshold)].tolist()
