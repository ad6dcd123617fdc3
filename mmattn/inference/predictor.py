"""What predicts: a function from an image to a result, whatever runs the network."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class LoadedImage:
    """An image that is read and prepared, so that the network alone is left to run.

    Attributes:
        prepared: What the predictor's ``predict_loaded`` takes.
        pixels: (H, W, 3) uint8 RGB, the image.
        batch_key: Images of equal keys may go through the network together; None for one that goes
            alone.
    """

    prepared: Any
    pixels: np.ndarray
    batch_key: Hashable = None


class Predictor(Protocol):
    """A model in torch, or an exported file in its runtime.

    Attributes:
        result: ``"boxes"``, then results are ``mmattn.detections.Detections``; ``"classes"``, then
            they are class indices (H, W); or ``"segments"``, then they are
            ``mmattn.detections.segment_map.SegmentMap``, and ``things`` says which classes have
            objects that are told apart.
        classes: Class names by index.
        palette: RGB per class; None or empty where the dataset has none.
        remark: What the user has to know about all results; else empty.
    """

    @property
    def result(self) -> Literal["boxes", "classes", "segments"]: ...
    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def palette(self) -> Sequence[Sequence[int]] | None: ...
    @property
    def remark(self) -> str: ...

    def __call__(self, image: np.ndarray) -> Any:
        """Return the result of an image, (H, W, 3) uint8 RGB, in its pixels."""
        ...

    def predict_file(self, file: Path) -> tuple[Any, np.ndarray]:
        """Return the result of an image file, and the image, (H, W, 3) uint8 RGB.

        Raises:
            DataError: The file cannot be read.
        """
        ...

    def load_file(self, file: Path) -> LoadedImage:
        """Read an image file and prepare it; threads may call this at once.

        Raises:
            DataError: The file cannot be read.
        """
        ...

    def predict_loaded(self, images: Sequence[LoadedImage]) -> list[Any]:
        """Return the results of loaded images of one ``batch_key``, each in its pixels."""
        ...
