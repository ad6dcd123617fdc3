"""Export a trained model to a file for other runtimes, checked against torch.

``export`` does all of it. Its parts: ``export_onnx`` writes a file, ``convert_to_openvino``
converts it, ``check_parity`` proves on real images that files compute what the model computes, and
``load_exported`` runs a file. A format (``formats``, ``session``) knows no task, and a task
(``tasks``) no format. Names are imported at first use: onnx, onnxscript, onnxruntime and openvino
are heavy.
"""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "export": "run",
        "ExportResult": "run",
        "ExportFormat": "formats",
        "FORMATS": "formats",
        "find_format": "formats",
        "ExportMetadata": "metadata",
        "SemanticExport": "tasks.semantic_model",
        "export_onnx": "formats.onnx",
        "convert_to_openvino": "formats.openvino",
        "Session": "session",
        "OnnxSession": "session",
        "OpenVINOSession": "session",
        "open_session": "session",
        "ExportedModel": "exported_model",
        "load_exported": "exported_model",
        "ExportedDetector": "predictors",
        "ExportedSegmentor": "predictors",
        "load_predictor": "predictors",
        "ParityReport": "parity",
        "ParityRow": "parity",
        "check_parity": "parity",
        "read_images": "check_images",
        "validation_images": "check_images",
        "measure_run": "measurement",
        "class_ious": "accuracy",
        "torch_predictor": "accuracy",
        "exported_predictor": "accuracy",
        "validation_pairs": "validation_set",
    },
)
