"""Find what is wrong or without effect in a config, with file and line."""

from __future__ import annotations

from .run import RULES as RULES
from .run import Finding as Finding
from .run import lint as lint

__all__ = ["RULES", "Finding", "lint"]
