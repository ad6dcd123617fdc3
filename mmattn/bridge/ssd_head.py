"""Lets mmdet's SSD predict.

The prediction that all dense heads share asks ``self.loss_cls`` whether it has an activation of its
own. ``SSDHead`` computes its loss by a function and has no such attribute.
"""

from __future__ import annotations

import functools
from types import ModuleType


def patch_ssd_head(ssd_head: ModuleType) -> None:
    """Give ``mmdet.models.dense_heads.ssd_head.SSDHead`` the attribute, once."""
    original = ssd_head.SSDHead.__init__
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def init(self, *args, **kwargs) -> None:
        original(self, *args, **kwargs)
        # On the object: on the class it would hide a loss that a derived head registers.
        if not hasattr(self, "loss_cls"):
            self.loss_cls = None

    ssd_head.SSDHead.__init__ = init
