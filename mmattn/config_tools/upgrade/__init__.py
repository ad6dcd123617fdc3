"""Upgrade configs of mmdet 2.x and mmseg 0.x to those of today, as far as it is mechanical."""

from __future__ import annotations

from .run import Upgrade as Upgrade
from .run import upgrade as upgrade

__all__ = ["Upgrade", "upgrade"]
