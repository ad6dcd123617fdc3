"""Export: a trained model becomes a file that other runtimes execute, checked against torch.

``export_onnx`` writes the file and ``convert_to_openvino`` one of OpenVINO's from it,
``check_parity`` proves on real images that they compute what the model computes,
``OnnxSegmentor`` and ``OpenVINOSegmentor`` run them. Names are imported at first use: onnx,
onnxscript, onnxruntime and openvino are heavy.
"""

from __future__ import annotations

import importlib

_HOME = {
    "ExportFormat": "formats",
    "FORMATS": "formats",
    "find_format": "formats",
    "ExportMetadata": "metadata",
    "ExportableSegmentor": "segmentor",
    "export_onnx": "onnx_file",
    "convert_to_openvino": "openvino_file",
    "ExportedSegmentor": "runtime",
    "OnnxSegmentor": "runtime",
    "OpenVINOSegmentor": "runtime",
    "load_segmentor": "runtime",
    "ParityReport": "parity",
    "ParityRow": "parity",
    "check_parity": "parity",
    "read_images": "images",
    "validation_images": "images",
    "class_ious": "accuracy",
    "torch_predictor": "accuracy",
    "validation_pairs": "accuracy",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
