"""From the queries of a file to a panoptic map, in numpy: what a file leaves to its caller.

As the authors of Mask2Former do it. With p_i the probability of the best class of query i, and s_i
the probabilities of its mask, a pixel belongs to the query with the largest p_i s_i. Only queries
with p_i above ``object_mask_thr`` take part; one is dropped, with its pixels, where others leave it
less than ``iou_thr`` of those with s_i >= 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from mmattn.detections.segment_map import VOID, SegmentMap

Size = tuple[int, int]


def panoptic_map(
    class_logits: np.ndarray,
    mask_logits: np.ndarray,
    settings: Mapping[str, Any],
    *,
    input_size: Size,
    content: Size,
    output_size: Size,
) -> SegmentMap:
    """Return the segments of an image; memory is that of one mask at the size of the result.

    Args:
        class_logits: (Q, K + 1); the last class is "no object".
        mask_logits: (Q, h, w)
        settings: ``num_things``, the classes of things, the first ones; ``object_mask_thr``,
            ``iou_thr``; ``filter_low_score``, whether pixels with s < 0.5 are void.
        input_size: Height and width of the file's input.
        content: Height and width of the image in it, at the upper left.
        output_size: Height and width of the result.

    Returns:
        Segments; stuff of one class is one segment.
    """
    probabilities = _softmax(class_logits)
    scores, labels = probabilities.max(1), probabilities.argmax(1)
    no_object = class_logits.shape[1] - 1
    queries = np.flatnonzero((labels != no_object) & (scores > settings["object_mask_thr"]))
    best = np.full(output_size, -1.0, np.float32)
    winner = np.full(output_size, -1, np.int32)
    certain = np.zeros(output_size, bool)
    own = np.zeros(len(queries), np.int64)
    for place, query in enumerate(queries):
        logits = _resized(mask_logits[query], input_size)[: content[0], : content[1]]
        inside = _sigmoid(_resized(logits, output_size))
        sure = inside >= 0.5
        own[place] = sure.sum()
        value = scores[query] * inside
        better = value > best
        best[better], winner[better], certain[better] = value[better], place, sure[better]
    numbers, of_segment = _segments(winner, certain, own, labels[queries].tolist(), settings)
    ids = np.append(numbers, VOID)[winner]  # -1 is the last entry: nothing was predicted there
    if settings["filter_low_score"]:
        ids[~certain] = VOID
    return SegmentMap.of(ids, of_segment)


def _segments(
    winner: np.ndarray,
    certain: np.ndarray,
    own: np.ndarray,
    labels: list[int],
    settings: Mapping[str, Any],
) -> tuple[np.ndarray, dict[int, int]]:
    """Return the number of the segment of each query, and the class of each segment."""
    count = len(labels)
    won = np.bincount(winner[winner >= 0], minlength=count)
    common = np.bincount(winner[certain], minlength=count)
    numbers, of_segment, stuff = np.full(count, VOID), {}, {}
    for place, label in enumerate(labels):
        empty = not won[place] or not own[place]
        empty |= bool(settings["filter_low_score"]) and not common[place]
        if empty or won[place] / own[place] < settings["iou_thr"]:
            continue
        number = len(of_segment) + 1
        if label >= settings["num_things"]:
            number = stuff.setdefault(label, number)
        numbers[place] = number
        of_segment[number] = label
    return numbers, of_segment


def _resized(values: np.ndarray, size: Size) -> np.ndarray:
    if values.shape == size:
        return values
    values = np.ascontiguousarray(values, np.float32)
    return cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logits, -80, None)))  # exp(80) is finite in float32
