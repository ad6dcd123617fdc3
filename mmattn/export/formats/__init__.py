"""The formats that a model can be exported to, as data: a refusal comes before any heavy import."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from mmattn.errors import ExportError, did_you_mean


@dataclass(frozen=True)
class ExportFormat:
    """One row of the table.

    Attributes:
        name: What ``--format`` is given.
        suffix: The file name's ending.
        reads: Who runs such a file.
        modules: What writing and checking it imports.
        extra: The extra of mmattn that installs them.
        instead: Why mmattn does not write it and what to do; empty for a format that it writes.
    """

    name: str
    suffix: str
    reads: str
    modules: tuple[str, ...] = ()
    extra: str = ""
    instead: str = ""

    @property
    def available(self) -> bool:
        return not self.instead

    @property
    def missing(self) -> list[str]:
        """Those of ``modules`` that are not installed; none of them is imported."""
        return [name for name in self.modules if importlib.util.find_spec(name) is None]


ONNX_MODULES = ("onnx", "onnxscript", "onnxslim", "onnxruntime")

FORMATS: dict[str, ExportFormat] = {
    row.name: row
    for row in (
        ExportFormat(
            "onnx",
            ".onnx",
            "onnxruntime, OpenVINO, TensorRT, ncnn's converter, …",
            modules=ONNX_MODULES,
            extra="export",
        ),
        ExportFormat(
            "openvino",
            ".xml",
            "OpenVINO",
            modules=(*ONNX_MODULES, "openvino"),  # it is converted from an ONNX file
            extra="openvino",
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
        ExportError: There is no such format, mmattn does not write it, or what it needs is not
            installed; the message says what to do.
    """
    row = FORMATS.get(name.lower())
    if row is None:
        known = ", ".join(format.name for format in FORMATS.values() if format.available)
        hint = did_you_mean(name, FORMATS)
        raise ExportError(f"unknown export format {name!r}; mmattn writes: {known}.{hint}")
    if not row.available:
        raise ExportError(f"format {row.name!r} is not written: {row.instead}")
    if row.missing:
        raise ExportError(
            f"format {row.name!r} needs {', '.join(row.missing)}: pip install 'mmattn[{row.extra}]'"
        )
    return row
