"""What ``python -m mmattn.ops doctor`` finds out, as objects, for other programs."""

from __future__ import annotations

from ._doctor import find_out as find_out
from ._doctor_screen import Finding as Finding
from ._families import describe_families as describe_families

__all__ = ["Finding", "describe_families", "find_out"]
