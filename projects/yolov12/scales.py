"""The five sizes of YOLOv12 and its two versions (arXiv:2502.12524, table 6; authors' code).

Widths of the layers are given for a width of 1, and are min(width, largest) times the scale's
factor, rounded up to a multiple of 8; lengths of chains are multiplied and rounded, at least 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from mmattn.errors import ConfigError, did_you_mean

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Scale:
    """One size of the network.

    Attributes:
        depth: Factor of the lengths of chains.
        width: Factor of the numbers of channels.
        largest: Number of channels that is not exceeded before it is multiplied.
        c3k: Whether the first two stages have C3k for units, else bottlenecks.
        residual_scale: Initial value of the scale of R-ELAN's shortcut; None for no shortcut.
        large: Whether the feed-forward networks have the version's ratio, else 2.
    """

    depth: float
    width: float
    largest: int
    c3k: bool = True
    residual_scale: float | None = None
    large: bool = False

    def channels(self, width: int) -> int:
        """Return the number of channels of a layer.

        Example:
            >>> SCALES["x"].channels(1024)
            768
        """
        return -int(-min(width, self.largest) * self.width // 8) * 8

    def length(self, units: int) -> int:
        """Return the number of units of a chain."""
        return max(round(units * self.depth), 1)


@dataclass(frozen=True)
class Version:
    """One of the authors' two releases.

    Attributes:
        layout: Layout of the attention (``AreaAttention``).
        groups: Groups of the two convolutions to stride 4 and 8.
        mlp_ratio: Ratio of hidden to outer channels of the feed-forward networks at scales l and x.
    """

    layout: str
    groups: tuple[int, int]
    mlp_ratio: float


SCALES = {
    "n": Scale(0.5, 0.25, 1024, c3k=False),
    "s": Scale(0.5, 0.5, 1024, c3k=False),
    "m": Scale(0.5, 1.0, 512),
    "l": Scale(1.0, 1.0, 512, residual_scale=0.01, large=True),
    "x": Scale(1.0, 1.5, 512, residual_scale=0.01, large=True),
}
VERSIONS = {
    "turbo": Version("turbo", groups=(2, 4), mlp_ratio=1.5),
    "v1.0": Version("v1.0", groups=(1, 1), mlp_ratio=1.2),
}


def look_up(argument: str, name: str, known: Mapping[str, _Value]) -> _Value:
    """Return ``known[name]``.

    Args:
        argument: Name of the argument, for the message.
        name: Its value.
        known: What it can be.

    Raises:
        ConfigError: There is no such name.
    """
    if name not in known:
        names = ", ".join(map(repr, known))
        raise ConfigError(
            f"{argument} must be one of {names}, got {name!r}.{did_you_mean(str(name), known)}"
        )
    return known[name]
