"""The formats that a model can be exported to, as data: a refusal comes before any heavy import."""

from __future__ import annotations

from dataclasses import dataclass

from mmattn.errors import ExportError, did_you_mean


@dataclass(frozen=True)
class ExportFormat:
    """One row of the table.

    Attributes:
        name: What ``--format`` is given.
        suffix: The file name's ending.
        reads: Who runs such a file.
        instead: Why mmattn does not write it and what to do; empty for a format that it writes.
    """

    name: str
    suffix: str
    reads: str
    instead: str = ""

    @property
    def available(self) -> bool:
        return not self.instead


FORMATS: dict[str, ExportFormat] = {
    row.name: row
    for row in (
        ExportFormat("onnx", ".onnx", "onnxruntime, OpenVINO, TensorRT, ncnn's converter, …"),
        ExportFormat(
            "openvino",
            ".xml",
            "OpenVINO",
            instead="OpenVINO reads ONNX as it is: export --format onnx, then `ovc FILE.onnx`",
        ),
        ExportFormat(
            "tensorrt",
            ".engine",
            "TensorRT",
            instead="an engine belongs to one GPU: export --format onnx, then build it there with "
            "`trtexec --onnx=FILE.onnx`",
        ),
        ExportFormat(
            "torchscript",
            ".pt",
            "libtorch",
            instead="torch has retired TorchScript: export --format onnx",
        ),
    )
}


def find_format(name: str) -> ExportFormat:
    """The row called ``name``.

    Raises:
        ExportError: There is no such format, or mmattn does not write it; the message says what
            to do.
    """
    row = FORMATS.get(name.lower())
    if row is None:
        known = ", ".join(format.name for format in FORMATS.values() if format.available)
        hint = did_you_mean(name, FORMATS)
        raise ExportError(f"unknown export format {name!r}; mmattn writes: {known}.{hint}")
    if not row.available:
        raise ExportError(f"format {row.name!r} is not written: {row.instead}")
    return row
