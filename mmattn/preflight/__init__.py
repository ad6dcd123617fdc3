"""Checks of a config and its data before the first training step."""

from __future__ import annotations

from .run import preflight as preflight

__all__ = ["preflight"]
