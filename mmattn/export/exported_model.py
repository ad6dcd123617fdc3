"""An exported file as a model: a session of its format and the decoder of its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .metadata import ExportMetadata
from .session import Session, open_session
from .tasks import find_task
from .tasks.task import Outputs


class ExportedModel:
    """Images in, results of the task out.

    Args:
        session: Exported file in its runtime.

    Raises:
        ExportError: The file is of a task that this version of mmattn does not know.

    Example:
        >>> model = load_exported("ccnet.onnx")  # doctest: +SKIP
        >>> classes = model.predict(image)  # doctest: +SKIP
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.task = find_task(session.metadata.task, str(session.path))
        self.decode = self.task.decoder(session.metadata)

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.session.path

    @property
    def metadata(self) -> ExportMetadata:
        """Description that the file carries."""
        return self.session.metadata

    def run(self, images: np.ndarray) -> Outputs:
        """Return the raw outputs by name.

        Args:
            images: (N, H, W, 3) uint8 RGB

        Raises:
            ExportError: The runtime refuses the images, for example for their size.
        """
        return self.session(np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32))

    def __call__(self, images: np.ndarray) -> Any:
        """Return the results of a batch, (N, H, W, 3) uint8 RGB; see ``predict``."""
        return self.decode(self.run(images))

    def predict(self, image: np.ndarray) -> Any:
        """Return the result of one image, (H, W, 3) uint8 RGB.

        For semantic segmentation these are classes, (H, W) int64.
        """
        return self(image[None])[0]


def load_exported(path: str | Path, *, num_threads: int = 0) -> ExportedModel:
    """Load an exported file: into OpenVINO if it is called ``*.xml``, else into onnxruntime.

    Args:
        path: File that ``export`` wrote.
        num_threads: Number of threads of the runtime; 0 leaves the choice to it.

    Raises:
        ExportError: The runtime is not installed or cannot load the file, or the task is unknown.
    """
    return ExportedModel(open_session(path, num_threads=num_threads))
