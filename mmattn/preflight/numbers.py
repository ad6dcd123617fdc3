"""What counts as a number in a config: never a bool, and finite unless it is said otherwise."""

from __future__ import annotations

import math
from typing import Any, TypeGuard


def is_number(value: Any, *, infinite: bool = False) -> TypeGuard[float]:
    """Return whether a value is a number and not NaN.

    Args:
        value: Any setting.
        infinite: Whether infinity is one.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return not math.isnan(value) and (infinite or math.isfinite(value))


def is_share(value: Any) -> TypeGuard[float]:
    """Return whether a value is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1
