"""What every method returns: a map, or points, over the network's input, and what it is of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmattn.errors import ConfigError


class NothingToShow(ConfigError):
    """A network has nothing of the kind that a method shows, or not at that place."""


@dataclass(frozen=True)
class SamplingPoints:
    """Places that deformable attention reads for one query.

    Attributes:
        places: (P, 2), x and y as shares of the padded input.
        weights: (P,)
        levels: (P,) index of the feature map.
        heads: (P,) index of the head.
        lost: Share of the weight that falls outside of the feature maps.
    """

    places: np.ndarray
    weights: np.ndarray
    levels: np.ndarray
    heads: np.ndarray
    lost: float


@dataclass
class Explanation:
    """One map of one image.

    Attributes:
        method: Name of the method, such as ``"hires-cam"``.
        name: What is shown, in a few words, for titles and keys of files.
        layer: Name of the module that it was taken from.
        values: (h, w) float64 on the grid of the feature map, raw: neither scaled nor cut at 0
            where the method does not; None for a gate of channels.
        signed: Whether values below 0 have a meaning of their own.
        channels: (C,) of a gate per channel, or a number for each head; None for all else.
        parts: Names and lengths of the parts of ``channels``, such as layers; none for a whole.
        points: Sampling points, where the layer has them.
        position: Row and column of the query whose attention this is.
        position_grid: Rows and columns of the map that ``position`` is in; None for the map's own.
        call: Which call of the module in one run of the network, from 1; 0 where it has only one.
        numbers: What was measured, name -> number.
        notes: Sentences for whoever reads the picture.
        kind: What is shown but for what is this image's own, such as the name of its target: images
            are summed over maps of one kind. "" for ``name``.
        kind_of_layer: Likewise the module, where each image may take another of its maps.
    """

    method: str
    name: str
    layer: str
    values: np.ndarray | None = None
    signed: bool = False
    channels: np.ndarray | None = None
    parts: tuple[tuple[str, int], ...] = ()
    points: SamplingPoints | None = None
    position: tuple[int, int] | None = None
    position_grid: tuple[int, int] | None = None
    call: int = 0
    numbers: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kind: str = ""
    kind_of_layer: str = ""

    @property
    def place(self) -> str:
        """Name of the module, and which of its calls where the network calls it several times."""
        return f"{self.layer}, call {self.call}" if self.call else self.layer

    @property
    def key(self) -> str:
        """Name of its array in a file."""
        return _joined(f"{self.method} {self.place} {self.name}")

    @property
    def across(self) -> str:
        """Name of the same map of other images."""
        place = self.kind_of_layer or self.place
        return _joined(f"{self.method} {place} {self.kind or self.name}")

    @property
    def ranking(self) -> np.ndarray:
        """The map by which positions are ordered: negative evidence counts as none."""
        assert self.values is not None
        return np.maximum(self.values, 0.0)


def _joined(words: str) -> str:
    """Return words as one, of letters that may stand in names of arrays."""
    return "_".join("".join(c if c.isalnum() or c in ".-" else " " for c in words).split())


def to_unit(values: np.ndarray) -> np.ndarray:
    """Scale a map to [0, 1] for drawing; a map that is constant becomes zeros."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros_like(values)
    return (values - low) / (high - low)
