"""COCO's run lengths: whether they are whole and cover their image.

A mask is stored column by column as counts of pixels without and with the object by turns, as a
list or packed into text: each number in groups of five bits, the lowest first, as characters from
``0`` on (bit 5: more follow; bit 4 of the last: negative); from the fourth on, numbers are
differences from the one two places before (pycocotools, ``rleToString``). pycocotools believes what
it reads: sums beyond the image write beyond its memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmattn.io.plain_data import is_number


def run_length_problem(mask: Mapping[str, Any], size: tuple[int, int]) -> str | None:
    """Return what is wrong with run lengths; None if they cover an image of this size.

    Args:
        mask: ``size`` and ``counts``.
        size: Height and width of the image.
    """
    stated = mask.get("size")
    if not isinstance(stated, Sequence) or isinstance(stated, str) or len(stated) != 2:
        return f"size is {stated!r:.40}, not [height, width]"
    if tuple(stated) != tuple(size):
        stated, held = (f"{one[0]} x {one[1]}" for one in (stated, size))
        return f"it is {stated}, its image {held} (height x width), so that it would not fit"
    counts = mask.get("counts")
    if isinstance(counts, (str, bytes)):
        numbers = unpack(counts)
        if numbers is None:
            return "counts are not packed run lengths, or are cut off"
    elif isinstance(counts, list) and all(type(v) is int and is_number(v) for v in counts):
        numbers = np.array(counts, np.float64)
    else:
        return f"counts are {counts!r:.40}, neither text nor whole numbers"
    if numbers.size and numbers.min() < 0:
        return "counts are negative"
    total, pixels = int(numbers.sum()), size[0] * size[1]
    if total != pixels:
        return f"counts add up to {total} pixels, the image has {pixels}"
    return None


def unpack(counts: str | bytes) -> np.ndarray | None:
    """Return the numbers (n,) that a text packs; None if it is none or is cut off.

    >>> unpack("05O1").tolist(), unpack("o")
    ([0, 5, -1, 6], None)
    """
    text = counts if isinstance(counts, bytes) else counts.encode("utf-8")
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not codes.size or codes.min() < 0 or codes.max() > 63:
        return None
    last = codes & 32 == 0
    if not last[-1]:
        return None
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        return None
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * place), starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
