"""Convert an exported ONNX file to OpenVINO's pair of files: the graph, .xml, the weights, .bin.

The weights stay float32. OpenVINO halves them when it saves unless told otherwise, which
changes each weight by up to 5e-4 of itself: more than the parity check allows.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from mmattn.errors import ExportError
from mmattn.io import atomic_write

from ..session import import_openvino


def convert_to_openvino(onnx_file: str | Path, path: str | Path) -> None:
    """Convert ``onnx_file``, metadata included.

    Args:
        onnx_file: File that ``export_onnx`` wrote.
        path: Path of the graph, ``*.xml``; the weights go to ``*.bin`` beside it. Both appear only
            when they are complete.

    Raises:
        ExportError: openvino is not installed, ``path`` does not end in .xml, or OpenVINO cannot
            convert the file.
    """
    openvino = import_openvino()
    path = Path(path)
    if path.suffix != ".xml":
        raise ExportError(f"{path}: the name of OpenVINO's graph must end in .xml")
    try:
        model = openvino.convert_model(str(onnx_file))
    except Exception as error:  # OpenVINO's frontends share no exception but this
        raise ExportError(f"OpenVINO cannot convert {onnx_file}: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.xml"
        openvino.save_model(model, str(graph), compress_to_fp16=False)
        # In this order no graph ever lies beside the weights of another.
        path.unlink(missing_ok=True)
        for suffix in (".bin", ".xml"):
            with (
                graph.with_suffix(suffix).open("rb") as source,
                atomic_write(path.with_suffix(suffix)) as target,
            ):
                shutil.copyfileobj(source, target)
