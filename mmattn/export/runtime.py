"""Run an exported file in onnxruntime: what a user of the file needs, and nothing of torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmattn.errors import ExportError

from .metadata import ExportMetadata


class OnnxSegmentor:
    """An exported semantic segmentor.

    Args:
        path: A file that ``export_onnx`` wrote.
        num_threads: Threads of onnxruntime; 0 leaves the choice to it.

    Raises:
        ExportError: The file is missing, no ONNX, or not written by mmattn.

    Example:
        >>> segmentor = OnnxSegmentor("ccnet.onnx")           # doctest: +SKIP
        >>> classes = segmentor.predict(picture)              # doctest: +SKIP
    """

    def __init__(self, path: str | Path, *, num_threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ExportError(
                "running an exported file needs onnxruntime: pip install 'mmattn[export]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own exceptions share no base but this
            raise ExportError(f"{path}: onnxruntime cannot load it: {error}") from error
        props = self.session.get_modelmeta().custom_metadata_map
        self.path = Path(path)
        self.metadata = ExportMetadata.from_props(props, str(path))

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Run the file.

        Args:
            pictures: (N, H, W, 3) uint8 RGB

        Returns:
            What the file computes: logits (N, classes, H, W) float32, or classes (N, H, W) int64.

        Raises:
            ExportError: onnxruntime refuses the pictures, for example for their size.
        """
        images = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), dtype=np.float32)
        try:
            return self.session.run(None, {"images": images})[0]
        except Exception as error:
            size = f"{images.shape[2]} x {images.shape[3]}"
            raise ExportError(f"{self.path}: fails on a picture of {size}: {error}") from error

    def class_map(self, pictures: np.ndarray) -> np.ndarray:
        """The class of each pixel, (N, H, W) int64, whichever output the file has."""
        return self.decide(self(pictures))

    def predict(self, picture: np.ndarray) -> np.ndarray:
        """One picture, (H, W, 3) uint8 RGB, to its classes, (H, W) int64."""
        return self.class_map(picture[None])[0]

    def decide(self, output: np.ndarray) -> np.ndarray:
        """Turn the file's output into classes, (N, H, W) int64."""
        if self.metadata.output == "classes":
            return output
        threshold = self.metadata.threshold
        if threshold is None:
            return output.argmax(1)
        probability = 1 / (1 + np.exp(-output[:, 0].astype(np.float64)))
        return (probability > threshold).astype(np.int64)
