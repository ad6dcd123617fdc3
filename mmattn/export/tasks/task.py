"""The contract of a task: what it traces, how it decodes, how it compares. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metadata import ExportMetadata

if TYPE_CHECKING:
    from torch import nn

    from .exportable import ExportableModel

#: Name of an output -> its values, batch first.
Outputs = dict[str, np.ndarray]


class Decoder(ABC):
    """Turns the outputs of a file into results.

    Args:
        metadata: Metadata of the file.
    """

    def __init__(self, metadata: ExportMetadata) -> None:
        self.metadata = metadata

    @abstractmethod
    def __call__(self, outputs: Outputs) -> Any:
        """Return the results of a batch, indexable by image."""


class ParityMeasure(ABC):
    """Compares a file with torch over the batches of one input size.

    Attributes:
        agreement_title: What ``agreement`` counts, the title of its column in the report.
        max_difference: Largest |torch - file| over the raw outputs; None if the file only returns
            decisions.
        largest: Largest |torch| over the raw outputs.
    """

    agreement_title: str

    def __init__(self) -> None:
        self.max_difference: float | None = None
        self.largest = 0.0

    @abstractmethod
    def add(self, outputs: Outputs, expected: Outputs) -> None:
        """Add a batch.

        Args:
            outputs: Outputs of the file.
            expected: Raw outputs of the model, as ``ExportTask.run_torch`` returns them.

        Raises:
            ValueError: The shapes differ.
        """

    def add_values(self, name: str, values: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Add a raw output of the file and the model's own, and return |difference|.

        Raises:
            ValueError: The shapes differ.
        """
        if values.shape != expected.shape:
            raise ValueError(f"{name}: the file returns {values.shape}, the model {expected.shape}")
        difference = np.abs(values - expected)
        # np.maximum keeps a NaN, max() may lose it.
        self.max_difference = float(np.maximum(self.max_difference or 0.0, difference.max()))
        self.largest = float(np.maximum(self.largest, np.abs(expected).max()))
        return difference

    @property
    @abstractmethod
    def agreement(self) -> float:
        """Share of the decoded results that are equal, 0 to 1."""

    @property
    def results(self) -> int | None:
        """Number of results that were compared; None where every pixel or value is one."""
        return None

    @property
    def undecided(self) -> float:
        """Share of the results that count as equal since rounding alone decides them, 0 to 1."""
        return 0.0

    @property
    def relative(self) -> float | None:
        """``max_difference`` relative to ``largest``."""
        if self.max_difference is None:
            return None
        return self.max_difference / max(self.largest, 1e-12)


class ExportTask(ABC):
    """A task, for instance semantic segmentation.

    Attributes:
        name: The task as metadata names it, a key of ``mmattn.export.tasks.TASKS``.
        outputs: Forms in which a file may return its results; the first is the default.
    """

    name: str
    outputs: tuple[str, ...]

    @abstractmethod
    def supports(self, model: nn.Module) -> bool:
        """Return whether ``model`` solves this task in a way that can be exported."""

    @abstractmethod
    def wrap(self, model: nn.Module, output: str) -> ExportableModel:
        """Return the module that is traced.

        Args:
            model: Model that ``supports`` accepts.
            output: Form of the output, one of ``outputs``.
        """

    @abstractmethod
    def run_torch(self, model: nn.Module, images: np.ndarray) -> Outputs:
        """Run ``model`` by its own path, data preprocessor included, as a test does.

        Args:
            model: Model in eval mode, on any device.
            images: (N, H, W, 3) uint8 RGB

        Returns:
            The raw outputs, which files are compared with.
        """

    @abstractmethod
    def decoder(self, metadata: ExportMetadata) -> Decoder:
        """Return the decoder of a file with these metadata."""

    @abstractmethod
    def measure(self, metadata: ExportMetadata) -> ParityMeasure:
        """Return an empty measure for a file with these metadata."""
