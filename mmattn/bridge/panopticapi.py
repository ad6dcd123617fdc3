"""Replacement for the parts of ``panopticapi`` that mmdet uses; no package index has it.

``mmattn.bridge.panopticapi_finder`` serves this under the names ``panopticapi``, ``.utils`` and
``.evaluation`` where the package is missing. The quality measure is that of Kirillov et al.,
Panoptic Segmentation, CVPR 2019, arXiv:1801.00868, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

#: Factor that packs a pair of ids into one integer: ``first * OFFSET + second``.
OFFSET = 256**3
#: The id of pixels without a segment.
VOID = 0

_WEIGHTS = (1, 256, 256**2)


def rgb2id(color: np.ndarray) -> np.ndarray | int:
    """Segment ids of colours: ``R + 256 G + 256^2 B``.

    Args:
        color: ``(..., 3)`` RGB, or three numbers.

    Returns:
        ``(...)`` int32; a number for a single colour.
    """
    ids = (np.asarray(color)[..., :3].astype(np.int32) * np.int32(_WEIGHTS)).sum(-1, dtype=np.int32)
    return ids if ids.ndim else int(ids)


def id2rgb(id_map: np.ndarray | int) -> np.ndarray | list[int]:
    """The inverse of ``rgb2id``: ``(..., 3)`` uint8 RGB; a list for a single id."""
    ids = np.asarray(id_map).astype(np.int64)
    colours = np.stack([ids // weight % 256 for weight in _WEIGHTS], axis=-1).astype(np.uint8)
    return colours if ids.ndim else colours.tolist()


@dataclass
class PQStatCat:
    """Sums of one category: IoU of the matched segments, and how many were matched or not."""

    iou: float = 0.0
    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __iadd__(self, other: PQStatCat) -> PQStatCat:
        self.iou += other.iou
        self.tp += other.tp
        self.fp += other.fp
        self.fn += other.fn
        return self

    @property
    def seen(self) -> bool:
        """Whether the category occurred, in truth or prediction."""
        return self.tp + self.fp + self.fn > 0

    def quality(self) -> dict[str, float]:
        """Panoptic, segmentation and recognition quality: ``pq = sq * rq``."""
        if not self.seen:
            return {"pq": 0.0, "sq": 0.0, "rq": 0.0}
        denominator = self.tp + 0.5 * self.fp + 0.5 * self.fn
        sq = self.iou / self.tp if self.tp else 0.0
        return {"pq": self.iou / denominator, "sq": sq, "rq": self.tp / denominator}


class PQStat:
    """The sums of all categories, by category id."""

    def __init__(self) -> None:
        self.pq_per_cat: dict[int, PQStatCat] = {}

    def __getitem__(self, category: int) -> PQStatCat:
        return self.pq_per_cat.setdefault(category, PQStatCat())

    def __iter__(self) -> Iterator[int]:
        return iter(self.pq_per_cat)

    def __iadd__(self, other: PQStat) -> PQStat:
        for category, sums in other.pq_per_cat.items():
            self[category].__iadd__(sums)
        return self

    def pq_average(
        self, categories: Mapping[int, Mapping], isthing: bool | None
    ) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
        """Mean quality over the categories that occurred.

        Args:
            categories: By id; ``isthing`` of each is 0 or 1.
            isthing: Take things or stuff alone; None takes all.

        Returns:
            The means with the number ``n`` of categories they are over, and each category's own.
        """
        chosen = [c for c, info in categories.items() if isthing in (None, info["isthing"] == 1)]
        each = {category: self[category].quality() for category in chosen}
        seen = [each[category] for category in chosen if self[category].seen]
        mean = {key: float(np.mean([q[key] for q in seen] or [0.0])) for key in ("pq", "sq", "rq")}
        return {**mean, "n": len(seen)}, each
