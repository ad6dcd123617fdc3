"""Run an exported file: what a user of the file needs, and nothing of torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmattn.errors import ExportError

from .metadata import ExportMetadata


class ExportedSegmentor:
    """A semantic segmentor in a file; a subclass loads one format and runs it.

    Attributes:
        path: The file.
        metadata: What the file says about itself.
        runtime: Who runs it, in words.
    """

    path: Path
    metadata: ExportMetadata
    runtime: str

    def run(self, images: np.ndarray) -> np.ndarray:
        """(N, 3, H, W) float32 RGB in 0..255 -> the file's output, which the caller may keep."""
        raise NotImplementedError

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Run the file.

        Args:
            images: (N, H, W, 3) uint8 RGB

        Returns:
            What the file computes: logits (N, classes, H, W) float32, or classes (N, H, W) int64.

        Raises:
            ExportError: The runtime refuses the images, for example for their size.
        """
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)
        try:
            return self.run(images)
        except Exception as error:  # the runtimes' own exceptions share no base but this
            size = f"{images.shape[2]} x {images.shape[3]}"
            raise ExportError(f"{self.path}: fails on an image of {size}: {error}") from error

    def class_map(self, images: np.ndarray) -> np.ndarray:
        """The class of each pixel, (N, H, W) int64, whichever output the file has."""
        return self.decide(self(images))

    def predict(self, image: np.ndarray) -> np.ndarray:
        """One image, (H, W, 3) uint8 RGB, to its classes, (H, W) int64."""
        return self.class_map(image[None])[0]

    def decide(self, output: np.ndarray) -> np.ndarray:
        """Turn the file's output into classes, (N, H, W) int64."""
        if self.metadata.output == "classes":
            return output
        threshold = self.metadata.threshold
        if threshold is None:
            return output.argmax(1)
        probability = 1 / (1 + np.exp(-output[:, 0].astype(np.float64)))
        return (probability > threshold).astype(np.int64)


class OnnxSegmentor(ExportedSegmentor):
    """An exported semantic segmentor in onnxruntime.

    Args:
        path: A file that ``export_onnx`` wrote.
        num_threads: Threads of onnxruntime; 0 leaves the choice to it.

    Raises:
        ExportError: The file is missing, no ONNX, or not written by mmattn.

    Example:
        >>> segmentor = OnnxSegmentor("ccnet.onnx")           # doctest: +SKIP
        >>> classes = segmentor.predict(image)              # doctest: +SKIP
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
        self.runtime = f"onnxruntime {onnxruntime.__version__}"

    def run(self, images: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"images": images})[0]


class OpenVINOSegmentor(ExportedSegmentor):
    """An exported semantic segmentor in OpenVINO, on the CPU.

    It computes in float32. Left alone, OpenVINO takes bfloat16 on CPUs that have instructions for
    it (AVX512-BF16, AMX), which keeps 8 bits of each number: far above the parity check's limit.

    Args:
        path: A file that ``convert_to_openvino`` wrote, ``*.xml`` with its ``*.bin`` beside it.
        num_threads: Threads of OpenVINO; 0 leaves the choice to it.

    Raises:
        ExportError: openvino is not installed, or the file is missing, none of OpenVINO's, or not
            written by mmattn.
    """

    def __init__(self, path: str | Path, *, num_threads: int = 0) -> None:
        openvino = import_openvino()
        options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if num_threads:
            options["INFERENCE_NUM_THREADS"] = num_threads
        core = openvino.Core()
        try:
            model = core.read_model(str(path))
            self.compiled = core.compile_model(model, "CPU", options)
        except Exception as error:  # OpenVINO's own exceptions share no base but this
            raise ExportError(f"{path}: OpenVINO cannot load it: {error}") from error
        props = model.get_rt_info("framework").value if model.has_rt_info("framework") else {}
        if not isinstance(props, dict):  # a model of another converter may hold a name there
            props = {}
        self.path = Path(path)
        self.metadata = ExportMetadata.from_props(props, str(path))
        self.runtime = f"OpenVINO {openvino.__version__.split('-')[0]}, CPU, float32"

    def run(self, images: np.ndarray) -> np.ndarray:
        # By default the next call would write into this one's output.
        return self.compiled({"images": images}, share_outputs=False)[0]


def import_openvino():
    """The module.

    Raises:
        ExportError: It is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise ExportError(
            "OpenVINO's files need openvino: pip install 'mmattn[openvino]'"
        ) from error
    return openvino


def load_segmentor(path: str | Path, *, num_threads: int = 0) -> ExportedSegmentor:
    """The file in its runtime: OpenVINO for ``*.xml``, else onnxruntime.

    Raises:
        ExportError: The runtime is not installed or cannot load the file.
    """
    kind = OpenVINOSegmentor if Path(path).suffix == ".xml" else OnnxSegmentor
    return kind(path, num_threads=num_threads)
