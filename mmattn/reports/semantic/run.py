"""The data of a report on one semantic segmentation run.

Only the results of the trained network are required. Whatever else is given adds its section or
column to the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmattn.palette import Palette


class Ious(Protocol):
    """IoU per class and their mean, in percent (``mmattn.export.accuracy.ClassIoUs``)."""

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


@dataclass(frozen=True)
class Step:
    """Something that was run.

    Attributes:
        title: Purpose of the step.
        command: Command line as one would type it, or "".
        seconds: Wall time, or None if it is not known.
    """

    title: str
    command: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class ModelSize:
    """Size of a network.

    Attributes:
        parameters: Number of parameters.
        flops: Operations of one forward pass, 2 per multiply-add.
        input_shape: (N, C, H, W) of that pass.
    """

    parameters: int
    flops: int
    input_shape: tuple[int, int, int, int]


@dataclass
class SegmentationRun:
    """The data of a report. All fields but the first two may be left out.

    Attributes:
        title: Head line.
        trained: IoUs of the trained network in torch.
        summary: Sentence or two below the title.
        palette: RGB per class; missing colours are filled in.
        num_images: Number of validation images behind the IoUs.
        untrained: IoUs of the network before training, on the same images.
        exported: IoUs of the exported file, on the same images.
        scalars: ``scalars.json`` files that mmengine wrote, oldest first.
        validation_axis: Unit of a validation step in these files, ``epoch`` or ``iteration``.
        training_minutes: Wall time of the training, validations included.
        samples: Images to show.
        parity: Content of ``parity.json``, which an export writes.
        file_bytes: Size of the exported file.
        size: Size of the network.
        steps: What was run, in order.
        environment: Tables of names and values (``mmattn.environment.collect_env``).
        notes: Sentences for the end of the page.
    """

    title: str
    trained: Ious
    summary: str = ""
    palette: Palette = ()
    num_images: int | None = None
    untrained: Ious | None = None
    exported: Ious | None = None
    scalars: Sequence[Path] = ()
    validation_axis: str = "iteration"
    training_minutes: float | None = None
    samples: Sequence[Sample] = ()
    parity: Mapping[str, Any] | None = None
    file_bytes: int | None = None
    size: ModelSize | None = None
    steps: Sequence[Step] = ()
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def runtime(self) -> str:
        """Name of what ran the exported file."""
        return self.parity["runtime"].split()[0] if self.parity else "exported file"

    @property
    def image_count(self) -> str:
        """The number of validation images with its noun."""
        if self.num_images is None:
            return "the validation images"
        return f"{self.num_images} validation image{'' if self.num_images == 1 else 's'}"
