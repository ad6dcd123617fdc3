"""The data of a report on one semantic segmentation run.

Only the results of the trained network are required. Whatever else is given adds its section or
column to the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mmattn.palette import Palette
from mmattn.reports.run import Run


class Ious(Protocol):
    """IoU per class and their mean, in percent (``mmattn.evaluation``'s ``ClassIoUs``)."""

    classes: tuple[str, ...]
    ious: tuple[float, ...]
    pixel_accuracy: float

    @property
    def mean(self) -> float: ...


@dataclass(frozen=True)
class Sample:
    """One image with its label maps.

    Attributes:
        image: (H, W, 3) uint8 RGB
        truth: (H, W) class indices of the ground truth.
        predicted: (H, W) class indices from the network in torch.
        exported: (H, W) class indices from the exported file, or None.
    """

    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    exported: np.ndarray | None = None


@dataclass(kw_only=True)
class SegmentationRun(Run):
    """The data of a report. All fields but ``title`` and ``trained`` may be left out.

    Attributes:
        trained: IoUs of the trained network in torch.
        palette: RGB per class; missing colours are filled in.
        untrained: IoUs of the network before training, on the same images.
        exported: IoUs of the exported file, on the same images.
        samples: Images to show.
        parity: Content of ``parity.json``, which an export writes.
        file_bytes: Size of the exported file.
    """

    trained: Ious
    palette: Palette = ()
    untrained: Ious | None = None
    exported: Ious | None = None
    samples: Sequence[Sample] = ()
    parity: Mapping[str, Any] | None = None
    file_bytes: int | None = None

    @property
    def runtime(self) -> str:
        """Name of what ran the exported file."""
        return self.parity["runtime"].split()[0] if self.parity else "exported file"
