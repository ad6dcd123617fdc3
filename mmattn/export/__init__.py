"""Export: a trained model becomes a file that other runtimes execute, checked against torch.

``export_onnx`` writes the file and ``convert_to_openvino`` one of OpenVINO's from it,
``check_parity`` proves on real images that they compute what the model computes,
``OnnxSegmentor`` and ``OpenVINOSegmentor`` run them. Names are imported at first use: onnx,
onnxscript, onnxruntime and openvino are heavy.
"""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "ExportFormat": "formats",
        "FORMATS": "formats",
        "find_format": "formats",
        "ExportMetadata": "metadata",
        "ExportableSegmentor": "semantic_export",
        "export_onnx": "onnx_file",
        "convert_to_openvino": "openvino_file",
        "ExportedSegmentor": "session",
        "OnnxSegmentor": "session",
        "OpenVINOSegmentor": "session",
        "load_segmentor": "session",
        "ParityReport": "parity",
        "ParityRow": "parity",
        "check_parity": "parity",
        "read_images": "check_images",
        "validation_images": "check_images",
        "class_ious": "accuracy",
        "torch_predictor": "accuracy",
        "validation_pairs": "accuracy",
    },
)
