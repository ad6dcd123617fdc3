"""Warnings that no user can act on: neither the terminal nor a report shows them."""

from __future__ import annotations

import re

#: Warnings of other packages that no user can act on, and why. They stay in the log file.
HARMLESS = tuple(
    re.compile(pattern)
    for pattern in (
        # Metrics without a prefix are how upstream's and our configs are written.
        r"^The prefix is not set in metric class",
        # Defaults of mmseg's losses and binary heads, which its own configs keep.
        r"Default ``avg_non_ignore`` is False",
        r"^For binary segmentation, we suggest using\s*`out_channels = 1`",
        # The visualisation hook is in every config and draws only when asked.
        r"^The draw is False, it means that the hook for visualization will not take effect",
        r"^The show is True, it means that only the prediction results are visualized",
        # A line for each frozen weight, of an optimizer with settings for some weights.
        r" is skipped since its requires_grad=False$",
        # A constant learning rate has no scheduler.
        r"^`save_param_scheduler` is True but `self.param_schedulers` is None",
        # Old names that mmengine, mmcv, mmdet and mmseg use among themselves.
        r'^"(FileClient|HardDiskBackend)" (will be deprecated|is the alias)',
        r"^`build_loss` would be deprecated",
        r"^`reduce_zero_label` will be deprecated",
        r"^DeprecationWarning: `num_anchors` is deprecated",
        # A registry of mmattn looks into mmdet and mmseg, whichever is in use.
        r"^Failed to search registry with scope",
        # Said by torch of what mmengine, mmcv and mmdet call.
        r"^torch\.meshgrid: in an upcoming release",
        r"^Detected call of `lr_scheduler\.step\(\)` before `optimizer\.step\(\)`",
        r"^'pin_memory' argument is set as true but no accelerator is found",
    )
)


def is_harmless(text: str) -> bool:
    """Return whether a warning is one of ``HARMLESS``."""
    return any(pattern.search(text.strip()) for pattern in HARMLESS)
