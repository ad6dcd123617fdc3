"""Run an exported file in its runtime: arrays in, arrays out, whatever the task; without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from mmattn.errors import ExportError

from .checked_files import refuse_failed
from .metadata import ExportMetadata


class Session(ABC):
    """A file loaded into the runtime of its format.

    Attributes:
        path: Path of the file.
        metadata: What the file says about itself.
        runtime: Name and version of the runtime.
    """

    path: Path
    metadata: ExportMetadata
    runtime: str

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the file.

        Args:
            images: (N, 3, H, W) float32 RGB in 0..255

        Returns:
            The outputs by name. They are the caller's: a later call does not write into them.

        Raises:
            ExportError: The runtime refuses the images, for example for their size.
        """
        try:
            return self.run(images)
        except Exception as error:  # the runtimes' own exceptions share no base but this
            size = f"{images.shape[2]} x {images.shape[3]}"
            raise ExportError(f"{self.path}: fails on an image of {size}: {error}") from error

    @abstractmethod
    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run the file; errors are the runtime's own."""


class OnnxSession(Session):
    """An exported file in onnxruntime, on the CPU.

    Args:
        path: File that ``export_onnx`` wrote.
        num_threads: Number of threads of onnxruntime; 0 leaves the choice to it.

    Raises:
        ExportError: The file is missing, not ONNX, or not written by mmattn.
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
            raise ExportError(
                f"{path}: onnxruntime cannot load it: {error}{_without_deform_conv(error)}"
            ) from error
        props = self.session.get_modelmeta().custom_metadata_map
        self.path = Path(path)
        self.metadata = ExportMetadata.from_props(props, str(path))
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        self._names = [output.name for output in self.session.get_outputs()]

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self._names, self.session.run(None, {"images": images}), strict=True))


class OpenVINOSession(Session):
    """An exported file in OpenVINO, on the CPU.

    It computes in float32. Left alone, OpenVINO takes bfloat16 on CPUs that have instructions for
    it (AVX512-BF16, AMX), which keeps 8 bits of each number: far above the parity check's limit.

    Args:
        path: File that ``convert_to_openvino`` wrote, ``*.xml`` with its ``*.bin`` beside it.
        num_threads: Number of threads of OpenVINO; 0 leaves the choice to it.

    Raises:
        ExportError: openvino is not installed, or the file is missing, not OpenVINO's, or not
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
            raise ExportError(
                f"{path}: OpenVINO cannot load it: {error}{_without_deform_conv(error)}"
            ) from error
        props = model.get_rt_info("framework").value if model.has_rt_info("framework") else {}
        if not isinstance(props, dict):  # a model of another converter may hold a name there
            props = {}
        self.path = Path(path)
        self.metadata = ExportMetadata.from_props(props, str(path))
        self.runtime = f"OpenVINO {openvino.__version__.split('-')[0]}, CPU, float32"
        self._names = [output.get_any_name() for output in self.compiled.outputs]

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        # By default the next call would write into this one's output.
        results = self.compiled({"images": images}, share_outputs=False)
        return {name: results[index] for index, name in enumerate(self._names)}


def _without_deform_conv(error: Exception) -> str:
    """Return what to do where a runtime has no DeformConv, else an empty string."""
    if "DeformConv" not in str(error):
        return ""
    return (
        ". This runtime has no DeformConv: export with --deform-conv grid_sample (the default), "
        "whose operators it has"
    )


def import_openvino():
    """Import the module ``openvino``.

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


def open_session(path: str | Path, *, num_threads: int = 0) -> Session:
    """Load a file into its runtime: OpenVINO for ``*.xml``, else onnxruntime.

    Args:
        path: Exported file.
        num_threads: Number of threads of the runtime; 0 leaves the choice to it.

    Raises:
        ExportError: The runtime is not installed or cannot load the file, or the file did not pass
            the check of its export.
    """
    refuse_failed(path)
    cls = OpenVINOSession if Path(path).suffix == ".xml" else OnnxSession
    return cls(path, num_threads=num_threads)
