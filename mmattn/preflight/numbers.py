"""What counts as a number in a config: never a bool, and finite unless it is said otherwise."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from mmattn.io import plain_data


def is_number(value: Any, *, infinite: bool = False) -> TypeGuard[float]:
    """Return whether a value is a number, not NaN, and of a size that a float has.

    Args:
        value: Any setting.
        infinite: Whether infinity is one.
    """
    if infinite and isinstance(value, float) and math.isinf(value):
        return True
    return plain_data.is_number(value)


def is_share(value: Any) -> TypeGuard[float]:
    """Return whether a value is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1
