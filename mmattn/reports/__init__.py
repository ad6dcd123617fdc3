"""Figures, curves and overlays of a run, and reports as one HTML file or a Markdown page."""

from __future__ import annotations

from mmattn.lazy import lazy_attributes

__getattr__, __dir__, __all__ = lazy_attributes(
    __name__,
    {
        "Report": "html.page",
        "plot_curves": "curves",
        "read_scalars": "curves",
        "blend": "overlays",
        "colour_map": "overlays",
        "data_uri": "overlays",
        "SegmentationRun": "semantic.run",
        "write_html_report": "semantic.html_report",
        "write_markdown_report": "semantic.markdown_report",
    },
)
