"""Checks of constructor arguments, whose errors name the argument and its value."""

from __future__ import annotations

from collections.abc import Sequence


def require_at_least(least: int, **arguments: int | None) -> None:
    """Raise unless every argument is at least ``least``; None, an argument left out, passes.

    Args:
        least: Smallest allowed value.
        **arguments: Values by argument name.

    Raises:
        ValueError: A value is smaller.

    Example:
        >>> require_at_least(1, in_channels=64, hidden_channels=None)
        >>> require_at_least(1, in_channels=64, reduction=0)
        Traceback (most recent call last):
        ValueError: reduction must be at least 1, got 0
    """
    for name, value in arguments.items():
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def require_odd(**arguments: int) -> None:
    """Raise unless every argument is an odd number of at least 1, as a kernel size has to be.

    Args:
        **arguments: Values by argument name.

    Raises:
        ValueError: A value is even, or less than 1.
    """
    require_at_least(1, **arguments)
    for name, value in arguments.items():
        if value % 2 == 0:
            raise ValueError(f"{name} must be odd, got {value}")


def as_pair(name: str, value: Sequence[int]) -> tuple[int, int]:
    """Return a height and a width, or rows and columns, as a pair of numbers of at least 1.

    Args:
        name: Name of the argument.
        value: Its value.

    Raises:
        ValueError: There are not two numbers, or one is less than 1.

    Example:
        >>> as_pair("agents", [7, 7])
        (7, 7)
        >>> as_pair("agents", [7])
        Traceback (most recent call last):
        ValueError: agents must be two numbers, got (7,)
    """
    if len(value) != 2:
        raise ValueError(f"{name} must be two numbers, got {tuple(value)}")
    require_at_least(1, **{name: min(value)})
    return value[0], value[1]
