"""What an operator's tests leave to the slow run where Triton's interpreter computes.

The interpreter takes seconds for what a kernel does in microseconds. Values and gradients of every
sample stay in the default run; what is left out here hardly depends on the backend.
"""

from __future__ import annotations

from typing import Any

import pytest

slow = pytest.mark.slow


class SlowWhereInterpreted:
    """Comes before the operator's test class among the bases."""

    @slow
    def test_compiles_to_one_graph(self: Any, backend: str) -> None:
        super().test_compiles_to_one_graph(backend)

    @slow
    def test_number_of_threads_does_not_matter(self: Any, backend: str) -> None:
        super().test_number_of_threads_does_not_matter(backend)

    @slow
    def test_random_calls_never_crash(self: Any, backend: str) -> None:
        super().test_random_calls_never_crash(backend)

    @slow
    def test_gradcheck(self: Any, backend: str) -> None:
        super().test_gradcheck(backend)

    @slow
    def test_opcheck(self: Any, backend: str) -> None:
        super().test_opcheck(backend)

    @slow
    def test_repeated_runs_are_equal(self: Any, backend: str) -> None:
        super().test_repeated_runs_are_equal(backend)

    @pytest.mark.parametrize(
        "layout",
        [
            "channels-last",
            *(
                pytest.param(name, marks=slow)
                for name in ("sliced", "expanded", "transposed", "negated offset")
            ),
        ],
    )
    def test_any_layout_gives_the_same(self: Any, backend: str, layout: str) -> None:
        super().test_any_layout_gives_the_same(backend, layout)
