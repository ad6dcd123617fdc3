"""Plots and reports of object detection and instance segmentation."""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "DetectionNumbers": "numbers",
        "DetectionRun": "run",
        "ExportedDetections": "run",
        "write_html_report": "html_report",
        "write_markdown_report": "markdown_report",
    },
)
