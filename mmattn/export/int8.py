"""Quantise an exported ONNX file to int8 after training, and measure what that costs.

Weights become int8 per output channel, activations uint8 per tensor, their ranges those of the
user's images, written as pairs of QuantizeLinear and DequantizeLinear (QDQ) that any runtime of
ONNX understands. The last layers, whose outputs are decoded, stay in float32, and so does what
follows them: the exponential in a box decoder turns a small error into a large one.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.errors import ExportError
from mmattn.io import atomic_write
from mmattn.quiet import quiet

from .metadata import ExportMetadata
from .preparation import prepare

if TYPE_CHECKING:
    import onnx

#: Layers with weights; a product of two activations (attention) stays in float32.
_WEIGHTED = ("Conv", "MatMul", "Gemm")


@dataclass(frozen=True)
class Int8Report:
    """A quantised file beside the file that it was made from.

    Attributes:
        file: Path of the quantised file.
        calibration_images: Number of images that the ranges of the activations come from.
        layers: Number of quantised layers.
        metric: What was measured: ``mAP`` or ``mIoU``, 0 to 1.
        images: Number of images that it was measured on.
        before, after: The metric of the float32 and of the int8 file.
        bytes_before, bytes_after: Their sizes.
    """

    file: str
    calibration_images: int
    layers: int
    metric: str
    images: int
    before: float
    after: float
    bytes_before: int
    bytes_after: int

    def describe(self) -> str:
        """Return one line for the report."""
        return (
            f"int8: {self.layers} layers, calibrated on {self.calibration_images} images; "
            f"{self.metric} on {self.images} images {self.before:.4f} before, {self.after:.4f} "
            f"after; {self.bytes_before / 2**20:.1f} MiB before, {self.bytes_after / 2**20:.1f} "
            "MiB after"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return asdict(self)


def quantize(
    onnx_file: str | Path, out: str | Path, images: Iterable[np.ndarray], metadata: ExportMetadata
) -> int:
    """Write the int8 file of ``onnx_file``.

    Args:
        onnx_file: File that ``export_onnx`` wrote.
        out: Path of the int8 file; it appears when it is complete.
        images: Images for the ranges of the activations, (H, W, 3) uint8 RGB, of any size.
        metadata: Metadata of ``onnx_file``.

    Returns:
        Number of quantised layers.

    Raises:
        ExportError: The file has no layer to quantise, an image does not fit, or onnxruntime cannot
            quantise the file.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    proto = onnx.load(str(onnx_file))
    layers = layers_to_quantize(proto)
    if not layers:
        raise ExportError(f"{onnx_file} has no layer that can be quantised but the last ones")

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.inputs: Iterator[dict[str, np.ndarray]] = (
                {"images": _planes(image, metadata, str(onnx_file))} for image in images
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.inputs, None)

    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder) / "int8.onnx"
        try:
            with quiet(logging.getLogger(), hide_warnings=True):
                quantize_static(
                    str(onnx_file),
                    str(quantized),
                    Reader(),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    reduce_range=True,  # 7 bits: no overflow on CPUs without VNNI
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod.MinMax,
                    nodes_to_quantize=layers,
                    op_types_to_quantize=list(_WEIGHTED),
                )
        except ExportError:
            raise
        except Exception as error:  # onnxruntime's own exceptions share no base but this
            raise ExportError(f"{onnx_file}: onnxruntime cannot quantise it: {error}") from error
        proto = onnx.load(str(quantized))
        onnx.helper.set_model_props(proto, replace(metadata, precision="int8").to_props())
        onnx.save(proto, str(quantized))
        with quantized.open("rb") as source, atomic_write(Path(out)) as target:
            shutil.copyfileobj(source, target)
    return len(layers)


def _planes(image: np.ndarray, metadata: ExportMetadata, source: str) -> np.ndarray:
    pixels = prepare(image, metadata, source).pixels
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)


def layers_to_quantize(proto: onnx.ModelProto) -> list[str]:
    """Return the names of the layers with constant weights that another such layer follows."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def weighted(node: onnx.NodeProto) -> bool:
        return node.op_type in _WEIGHTED and any(name in constants for name in node.input[:2])

    # Nodes are sorted: whoever reads an output comes later.
    followed: dict[str, bool] = {}  # name of a value -> a weighted layer lies behind it
    for node in reversed(proto.graph.node):
        for name in node.output:
            behind = readers.get(name, ())
            followed[name] = any(
                weighted(reader) or any(followed.get(o, False) for o in reader.output)
                for reader in behind
            )
    return [
        node.name
        for node in proto.graph.node
        if weighted(node) and any(followed[name] for name in node.output)
    ]
