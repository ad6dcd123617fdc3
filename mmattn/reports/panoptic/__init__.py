"""Plots and reports of panoptic segmentation."""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "PanopticNumbers": "numbers",
        "PanopticRun": "run",
        "write_html_report": "html_report",
        "write_markdown_report": "markdown_report",
    },
)
