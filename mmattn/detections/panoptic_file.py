"""Segments in COCO's panoptic form: a PNG whose colours are ids, and what JSON lists of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from .segment_map import SegmentMap, id_colours


def encode_map(segments: SegmentMap) -> bytes:
    """Encode a map as PNG; ids are 1, 2, …, and 0 where there is no segment."""
    success, encoded = cv2.imencode(
        ".png", np.ascontiguousarray(id_colours(segments.index)[..., ::-1])
    )
    if not success:
        raise ValueError(f"OpenCV cannot encode a map of shape {segments.shape}")
    return encoded.tobytes()


def list_segments(
    segments: SegmentMap, category_ids: Sequence[Any], things: Sequence[bool]
) -> list[dict[str, Any]]:
    """Return ``segments_info`` of an image.

    Args:
        segments: Segments, whose ids in the file are 1, 2, ….
        category_ids: Id of each class in the file.
        things: Whether each class is a thing.
    """
    boxes, areas = segments.boxes().tolist(), segments.areas().tolist()
    return [
        {
            "id": place + 1,
            "category_id": category_ids[label],
            "isthing": int(things[label]),
            "iscrowd": 0,
            "bbox": boxes[place],
            "area": areas[place],
        }
        for place, label in enumerate(segments.labels.tolist())
    ]


def list_categories(
    names: Sequence[str], category_ids: Sequence[Any], things: Sequence[bool]
) -> list[dict[str, Any]]:
    """Return ``categories`` of a panoptic file."""
    return [
        {"id": number, "name": name, "isthing": int(thing)}
        for number, name, thing in zip(category_ids, names, things, strict=True)
    ]
