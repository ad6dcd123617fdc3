"""Promise: a wrong constructor argument is named, with its value."""

from __future__ import annotations

import pytest

from mmattn.layers.checks import as_pair, require_at_least, require_odd


def test_values_from_the_least_on_and_arguments_left_out_pass() -> None:
    require_at_least(1, channels=1, hidden=7, left_out=None)
    require_at_least(0, recurrence=0)
    require_odd(kernel_size=1, other=7)


@pytest.mark.parametrize(
    ("least", "arguments", "message"),
    [
        (1, {"channels": 0}, "channels must be at least 1, got 0"),
        (1, {"channels": 8, "reduction": -2}, "reduction must be at least 1, got -2"),
        (0, {"recurrence": -1}, "recurrence must be at least 0, got -1"),
    ],
)
def test_a_smaller_value_is_named(least: int, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        require_at_least(least, **arguments)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (4, "must be odd, got 4"),
        (0, "must be at least 1, got 0"),
        (-1, "must be at least 1, got -1"),
    ],
)
def test_an_even_or_negative_kernel_is_named(value: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^kernel_size {message}$"):
        require_odd(kernel_size=value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((7,), r"must be two numbers, got \(7,\)"),
        ([7, 7, 7], r"must be two numbers, got \(7, 7, 7\)"),
        ((7, 0), "must be at least 1, got 0"),
    ],
)
def test_what_is_no_pair_of_sizes_is_named(value: list[int], message: str) -> None:
    assert as_pair("agents", [3, 4]) == (3, 4)
    with pytest.raises(ValueError, match=f"^agents {message}$"):
        as_pair("agents", value)
