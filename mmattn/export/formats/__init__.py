"""Table of the formats that a model can be exported to; reading it imports nothing heavy."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from mmattn.errors import ExportError, did_you_mean


@dataclass(frozen=True)
class ExportFormat:
    """Row of the table.

    Attributes:
        name: Name of the format, the value of ``--format``.
        suffix: Ending of the file name.
        runtimes: Programs that run such a file.
        modules: Modules that writing and checking it needs.
        extra: Extra of mmattn that installs them.
        instead: What to do instead, for a format that mmattn does not write; else empty.
    """

    name: str
    suffix: str
    runtimes: str
    modules: tuple[str, ...] = ()
    extra: str = ""
    instead: str = ""

    @property
    def available(self) -> bool:
        """Whether mmattn writes this format."""
        return not self.instead

    @property
    def missing(self) -> list[str]:
        """Modules that are not installed; none is imported to find out."""
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
    """Return the row of a format that can be written here.

    Args:
        name: Name of the format.

    Raises:
        ExportError: There is no such format, mmattn does not write it, or a package that it needs
            is not installed; the message says what to do.
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
