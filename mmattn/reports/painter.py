"""One way to paint label maps, for predictions, tests, evaluations and reports alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mmattn.errors import DataError
from mmattn.images import read_for_display
from mmattn.palette import Palette, complete_palette

from .overlays import IGNORED, blend

#: What became of the pixels of an object: name and RGB, apart in hue and in lightness.
OUTCOMES = (
    ("right", (0, 158, 115)),
    ("missed", (250, 210, 20)),
    ("false", (214, 39, 140)),
)
_BACKGROUND = ("background", "bg", "backgr")
_OUTCOME_PALETTE = [(0, 0, 0), *(colour for _, colour in OUTCOMES)]


def background_indices(classes: Sequence[str]) -> tuple[int, ...]:
    """Return the indices of classes called background, in any spelling (``__background__``)."""
    plain = [re.sub(r"[^a-z]", "", str(name).lower()) for name in classes]
    return tuple(index for index, name in enumerate(plain) if name in _BACKGROUND)


@dataclass(frozen=True)
class Painter:
    """Paints label maps of given classes over their images.

    A class called background keeps the photograph. Of two classes one is the object: beside a
    ground truth its pixels are painted by ``OUTCOMES``.

    Attributes:
        classes: Names of the classes.
        palette: RGB per class, complete.
        opacity: Weight of the colours, 0 to 1.
    """

    classes: tuple[str, ...]
    palette: Palette
    opacity: float = 0.5

    @classmethod
    def of(cls, classes: Sequence[str], palette: Palette | None, opacity: float = 0.5) -> Painter:
        """Create a painter; missing colours are filled in."""
        names = tuple(map(str, classes))
        return cls(names, complete_palette(palette or (), len(names)), opacity)

    @property
    def unpainted(self) -> tuple[int, ...]:
        """Indices of the classes that keep the photograph."""
        found = background_indices(self.classes)
        return found if len(found) < len(self.classes) else ()

    @property
    def object_class(self) -> int | None:
        """Index of the object of two classes: the one that is no background, else the second."""
        if len(self.classes) != 2:
            return None
        return 0 if self.unpainted == (1,) else 1

    def paint(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Paint a label map (H, W) over its image (H, W, 3) uint8 RGB; returns a new image."""
        # Colours are looked up by a byte or more; what is no class is black like what is ignored.
        inside = (labels >= 0) & (labels < len(self.palette))
        beyond = max(IGNORED, len(self.palette))
        known = np.where(inside, labels, beyond).astype(np.int64)
        return blend(image, known, self.palette, opacity=self.opacity, unpainted=self.unpainted)

    def paint_prediction(
        self, image: np.ndarray, predicted: np.ndarray, truth: np.ndarray | None
    ) -> np.ndarray:
        """Paint a prediction: by class, or by outcome for two classes with a ground truth.

        Args:
            image: (H, W, 3) uint8 RGB
            predicted: (H, W) class indices
            truth: (H, W) class indices; None without a ground truth.

        Returns:
            (H, W, 3) uint8 RGB
        """
        chosen = self.object_class
        if chosen is None or truth is None:
            return self.paint(image, predicted)
        said, there = predicted == chosen, truth == chosen
        outcome = np.select([said & there, there, said], [1, 2, 3], default=0)
        ignored = (truth < 0) | (truth >= len(self.classes))
        outcome[ignored] = IGNORED
        opacity = self.opacity
        return blend(image, outcome, _OUTCOME_PALETTE, opacity=opacity, unpainted=(0,))

    def legend(self, present: Sequence[int], *, with_truth: bool) -> list[tuple[str, Palette]]:
        """Return (name, RGB) for the classes ``present``, and for outcomes where they are painted.

        Args:
            present: Indices of classes.
            with_truth: Whether predictions are painted beside a ground truth.
        """
        entries = [
            (self.classes[index], self.palette[index])
            for index in present
            if index not in self.unpainted
        ]
        if with_truth and self.object_class is not None:
            name = self.classes[self.object_class]
            entries += [(f"{name}: {outcome}", colour) for outcome, colour in OUTCOMES]
        return entries

    def legend_of(
        self, predicted: np.ndarray, truth: np.ndarray | None = None
    ) -> list[tuple[str, Palette]]:
        """Return (name, RGB) for what is painted in an image, the largest area first.

        Args:
            predicted: (H, W) class indices
            truth: (H, W) class indices beside which the prediction is painted; None without.
        """
        maps = [predicted] if truth is None else [predicted, truth]
        areas = np.zeros(len(self.classes), np.int64)
        for labels in maps:
            inside = labels[(labels >= 0) & (labels < len(self.classes))].astype(np.int64)
            areas += np.bincount(inside, minlength=len(self.classes))
        order = np.argsort(-areas, kind="stable")
        present = [int(index) for index in order if areas[index]]
        return self.legend(present, with_truth=truth is not None)

    def tiles(
        self, image: np.ndarray, predicted: np.ndarray, truth: np.ndarray | None
    ) -> list[np.ndarray]:
        """Return what belongs side by side: image, ground truth if there is one, prediction."""
        painted = self.paint_prediction(image, predicted, truth)
        if truth is None:
            return [image, painted]
        return [image, self.paint(image, truth), painted]


def read_photograph(file: str, shape: tuple[int, int], bit_depth: int | None = None) -> np.ndarray:
    """Read an image for display.

    Args:
        file: Path of the image.
        shape: Height and width that the image is resized to.
        bit_depth: Bits in use of images that have more than 8, as the dataset states them.

    Returns:
        (H, W, 3) uint8 RGB; grey if the file is gone or damaged.
    """
    try:
        image = read_for_display(file, bit_depth=bit_depth)
    except DataError:
        return np.full((*shape, 3), 127, np.uint8)
    if image.shape[:2] != tuple(shape):
        image = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    return image
