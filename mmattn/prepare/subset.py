"""Choose a part of a dataset: the same images each time, on each machine."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mmattn.errors import ConfigError


@dataclass(frozen=True)
class Subset:
    """A part of each split.

    Attributes:
        text: As it was asked for.
        share: Share of the images of a split; None where ``count`` is given.
        count: Number of images of a split, or all that it has; None where ``share`` is given.
    """

    text: str
    share: float | None = None
    count: int | None = None

    @property
    def words(self) -> str:
        """The part in words, such as ``1% of each split``."""
        return (
            f"{self.text} of each split"
            if self.count is None
            else (f"{self.text} images of each split")
        )

    def size(self, total: int) -> int:
        """Return how many of ``total`` images are taken, 1 at least."""
        wanted = math.ceil(total * self.share) if self.share is not None else self.count or 0
        return min(total, max(1, wanted))

    def choose(self, names: Iterable[str]) -> list[str]:
        """Choose names, spread evenly by a hash of each; a larger part holds the smaller one."""
        names = sorted(names, key=_rank)
        return sorted(names[: self.size(len(names))])

    def choose_balanced(self, classes: Mapping[str, Collection[int]]) -> list[str]:
        """Choose names so that rare classes come in as often as frequent ones, as far as possible.

        Of the class that the chosen images show least often, the next image is taken, until there
        are enough. Images without objects come last.

        Args:
            classes: Name of an image -> classes in it.
        """
        size = self.size(len(classes))
        order = sorted(classes, key=_rank)
        waiting: dict[int, list[str]] = {}
        for name in reversed(order):  # the first is at the end, from where it is taken
            for label in set(classes[name]):
                waiting.setdefault(label, []).append(name)
        shown, chosen = Counter(dict.fromkeys(waiting, 0)), dict[str, None]()
        while waiting and len(chosen) < size:
            label = min(waiting, key=lambda one: (shown[one], one))
            name = waiting[label].pop()
            if not waiting[label]:
                del waiting[label]
            if name not in chosen:
                chosen[name] = None
                shown.update(set(classes[name]))
        for name in order:
            if len(chosen) >= size:
                break
            chosen.setdefault(name)
        return sorted(chosen)


def parse_subset(text: str | None) -> Subset | None:
    """Read ``1%`` or ``200``.

    Raises:
        ConfigError: It is neither a share above 0 and up to 100 % nor a number of images.
    """
    if text is None:
        return None
    share = re.fullmatch(r"(\d+(?:\.\d+)?)%", text.strip())
    if share and float(share[1]) == 100:
        return None
    if share and 0 < float(share[1]) < 100:
        return Subset(text.strip(), share=float(share[1]) / 100)
    if re.fullmatch(r"0*[1-9]\d*", text.strip()):
        return Subset(text.strip(), count=int(text))
    raise ConfigError(
        f"--subset {text}: give a share of the images of each split, such as 1%, or a number of "
        "them, such as 200"
    )


def _rank(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
