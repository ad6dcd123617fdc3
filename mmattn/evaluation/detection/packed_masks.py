"""Masks of an image as one text of run lengths, so that many images do not fill the memory.

A mask in COCO's results form is a dict of its own, of about four times the size of its run lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np


class PackedMasks(Sequence[dict[str, Any]]):
    """A sequence of masks as run lengths, which unpacks the one that is asked for.

    Args:
        masks: Run lengths as pycocotools encodes them, all of one size.
    """

    def __init__(self, masks: Iterable[Mapping[str, Any]]) -> None:
        masks = list(masks)
        counts = [mask["counts"] for mask in masks]
        texts = [one.encode() if isinstance(one, str) else one for one in counts]
        self._size = tuple(map(int, masks[0]["size"])) if masks else (0, 0)
        self._ends = np.cumsum([len(text) for text in texts], dtype=np.int32)
        self._text = b"".join(texts)

    @staticmethod
    def can_hold(masks: Any) -> bool:
        """Return whether masks are run lengths of one size, not polygons or plain counts."""
        return (
            isinstance(masks, (list, tuple))
            and all(isinstance(mask, Mapping) for mask in masks)
            and all(isinstance(mask.get("counts"), (bytes, str)) for mask in masks)
            and len({tuple(mask["size"]) for mask in masks}) <= 1
        )

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Return ``size`` and ``counts`` of a mask, the counts as text, as JSON has them."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start = int(self._ends[place - 1]) if place else 0
        counts = self._text[start : int(self._ends[place])].decode("ascii")
        return {"size": list(self._size), "counts": counts}
