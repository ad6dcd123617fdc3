"""Survey of what the masks of a folder hold, before anything is decided about them."""

from __future__ import annotations

import functools
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from mmattn.images import evenly

from .classes_file import Colour
from .stored_mask import StoredMask, read_mask

#: More colours than classes can have: a photograph, a gradient, or lossy compression.
_TOO_MANY = 1000
#: Largest share of the masks that can be called the few that differ.
_FEW = 0.3


@dataclass
class MaskSurvey:
    """Findings in the masks of a folder.

    Attributes:
        looked_at: Number of masks that were read.
        shown: Value -> colours it shows as, of masks with one channel or three equal ones.
        values: Value -> first file that holds it, of the same masks.
        colours: Colour -> first file that holds it, of masks whose channels differ.
        coloured: The first mask whose channels differ.
        see_through: The first mask that is not opaque everywhere.
        lossy: The first JPEG.
        deep: Whether a mask has more than 8 bits.
        upper_half: Whether one of these masks has a value in the upper half of its range.
        palettes: Whether a mask has a palette.
        contents: Values -> the masks that hold just these, of masks with one channel.
    """

    looked_at: int = 0
    shown: dict[int, set[Colour]] = field(default_factory=dict)
    values: dict[int, str] = field(default_factory=dict)
    colours: dict[Colour, str] = field(default_factory=dict)
    coloured: str | None = None
    see_through: str | None = None
    lossy: str | None = None
    deep: bool = False
    upper_half: bool = False
    palettes: bool = False
    contents: dict[frozenset[int], list[str]] = field(default_factory=dict)

    @property
    def labelled_values(self) -> list[int]:
        """The values but 255 (and 65535 in 16-bit masks), which mean "not labelled"."""
        ignored = {255, 65535} if self.deep else {255}
        return sorted(set(self.values) - ignored)

    @property
    def white(self) -> int | None:
        """255 or 65535 where masks hold it and 0 alone, whatever their depth; else None."""
        return max(self.values) if set(self.values) in ({0, 255}, {0, 65535}) else None

    def odd_ones(self, values: Collection[int]) -> tuple[list[str], int]:
        """Return the masks that hold other values too, and how many hold none but these."""
        others = [paths for held, paths in self.contents.items() if not held <= set(values)]
        odd = sorted(path for paths in others for path in paths)
        return odd, sum(map(len, self.contents.values())) - len(odd)

    def most_hold(self) -> tuple[frozenset[int], list[str]] | None:
        """Return the values that nearly all masks keep to, and the few masks that do not.

        None where no few masks hold many more values than all others together, as masks do that
        were resized smoothly or compressed.
        """
        by_count = sorted(self.contents.items(), key=lambda item: len(item[0]))
        total = sum(map(len, self.contents.values()))
        for end in range(len(by_count) - 1, 0, -1):
            usual = frozenset().union(*(held for held, _ in by_count[:end]))
            odd = sorted(path for _, paths in by_count[end:] for path in paths)
            more = {value for held, _ in by_count[end:] for value in held} - usual
            if len(odd) > _FEW * total:
                break
            if len(more) > max(2 * len(usual), 3):
                return usual, odd
        return None

    def add(self, mask: StoredMask) -> None:
        """Take one more mask into account."""
        self.looked_at += 1
        if mask.path.lower().endswith((".jpg", ".jpeg", ".jfif", ".jpe")):
            self.lossy = self.lossy or mask.path
        if mask.is_see_through:
            self.see_through = self.see_through or mask.path
        if mask.is_grey:
            values = mask.grey()
            self.deep |= values.dtype not in (np.uint8, np.bool_)
            held = distinct(values)
            self.contents.setdefault(frozenset(held), []).append(mask.path)
            for value in held:
                self.upper_half |= value >= first_of_upper_half(values.dtype)
                self.values.setdefault(value, mask.path)
                shade = min(max(value, 0), 255)
                self.palettes |= mask.palette is not None
                colour = (shade,) * 3 if mask.palette is None else mask.palette[value].tolist()
                self.shown.setdefault(value, set()).add(tuple(colour))
        else:
            self.coloured = self.coloured or mask.path
            for packed in np.unique(pack(mask.colours)).tolist():
                colour = (packed >> 16, packed >> 8 & 255, packed & 255)
                self.colours.setdefault(colour, mask.path)


def survey_masks(paths: Sequence[str], limit: int | None = None) -> MaskSurvey:
    """Read masks and note what they hold.

    Args:
        paths: Paths of all masks.
        limit: Largest number of files to look at, evenly spread; None looks at all.

    Raises:
        DataError: A mask that cannot be read.
    """
    chosen = [paths[index] for index in evenly(len(paths), limit)]
    # Training, validation and the checks before them ask for the same masks.
    return _survey(tuple((path, _state(path)) for path in chosen))


@functools.lru_cache(maxsize=4)
def _survey(files: tuple[tuple[str, tuple[int, int]], ...]) -> MaskSurvey:
    survey = MaskSurvey()
    for path, _ in files:
        survey.add(read_mask(path))
        if len(survey.colours) > _TOO_MANY:
            break
    return survey


def distinct(values: np.ndarray) -> list[int]:
    """Return the values that occur, ascending; far quicker than sorting for 8 bits."""
    if values.dtype in (np.uint8, np.bool_):
        counts = np.bincount(values.reshape(-1).view(np.uint8), minlength=256)
        return np.flatnonzero(counts).tolist()
    return np.unique(values).tolist()


def first_of_upper_half(dtype: np.dtype) -> int:
    """1 for masks of one bit, 128 for those of 8 bits, 32768 for deeper ones."""
    return 1 if dtype == np.bool_ else 128 if dtype == np.uint8 else 32768


def pack(colours: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 to (H, W) int32, red in the upper byte."""
    red, green, blue = (colours[..., i].astype(np.int32) for i in range(3))
    return red << 16 | green << 8 | blue


def _state(path: str) -> tuple[int, int]:
    """Return a stamp that changes when the file does."""
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size
