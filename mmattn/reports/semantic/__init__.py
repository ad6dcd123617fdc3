"""Reports of semantic segmentation runs."""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "SegmentationRun": "run",
        "write_html_report": "html_report",
        "write_markdown_report": "markdown_report",
    },
)
