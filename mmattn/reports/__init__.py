"""Figures, curves and overlays of a run, and reports as one HTML file.

Names are imported at first use; curves need matplotlib, overlays OpenCV, the report neither.
"""

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
        "line_chart": "charts",
        "Story": "story",
        "SegmentationRun": "semantic",
        "write_segmentation_report": "semantic",
    },
)
