"""How far a run over many images is: images a second, and when it will be done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mmattn.errors import DataError

from .shard import Shard
from .sources import ManySources


class ImageCount(threading.Thread):
    """Counts the images of a shard beside the run, since listing them all may take minutes.

    Attributes:
        total: Number of images; None until it is known.
    """

    def __init__(self, sources: ManySources, shard: Shard) -> None:
        super().__init__(daemon=True, name="mmattn-count")
        self.sources, self.shard = sources, shard
        self.total: int | None = None

    def run(self) -> None:
        """Count."""
        try:
            self.total = sum(1 for _ in self.sources.images(self.shard))
        except DataError:
            return  # the run itself says so when it comes to the place


class Progress:
    """Tells every few seconds how many images are finished.

    Args:
        log: Called with each line.
        total: Returns the number of images, None while it is not known.
        before: Number of images that an earlier run has finished.
        every: Seconds between two lines.
        clock: Returns seconds, from any moment on.
    """

    def __init__(
        self,
        log: Callable[[str], None],
        total: Callable[[], int | None],
        *,
        before: int = 0,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log, self.total, self.before, self.every, self.clock = log, total, before, every, clock
        self.begun = self.told = clock()

    def update(self, finished: int, broken: int) -> None:
        """Note what this run has finished, and tell it if it is time to."""
        if self.clock() - self.told >= self.every:
            self.told = self.clock()
            self.log(self.describe(finished, broken))

    def describe(self, finished: int, broken: int) -> str:
        """Return one line, such as ``12,000 of 50,000 images, 210 a second, 3 min left``."""
        total = self.total()
        done = finished + self.before
        rate = finished / max(self.clock() - self.begun, 1e-9)
        parts = [f"{done:,}{f' of {total:,}' if total is not None else ''} images"]
        if finished:
            parts.append(f"{rate:.3g} a second")
        if total is not None and finished and total > done:
            parts.append(f"{_duration((total - done) / rate)} left")
        if broken:
            parts.append(f"{broken:,} cannot be read")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    """Return a time in its largest unit.

    >>> _duration(40), _duration(190), _duration(7300)
    ('40 s', '3 min', '2.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
