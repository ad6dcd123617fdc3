"""What a run looks like: curves, coloured predictions, and a report as one HTML file.

Names are imported at first use; curves need matplotlib, overlays OpenCV, the report neither.
"""

from __future__ import annotations

from importlib import import_module

_HOME = {
    "Report": "report",
    "plot_curves": "curves",
    "read_scalars": "curves",
    "blend": "overlays",
    "colour_map": "overlays",
    "data_uri": "overlays",
    "line_chart": "charts",
    "environment": "facts",
    "complexity": "facts",
    "Story": "story",
    "SegmentationRun": "segmentation_report",
    "write_segmentation_report": "segmentation_report",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
