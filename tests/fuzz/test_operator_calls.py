"""Promise: a wrong call of an operator is a Python error, and a right one equals plain torch.

Never a crash: the calls run in a process of their own.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests.support.adversarial_calls import TESTERS, outcome
from tests.support.forked import call_each

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
#: Calls of each operator in the default run, and in the long one.
SLICE, ALL = 60, 2000


def check(op: str, seeds: range, folder: Path, figures) -> None:
    found = call_each(functools.partial(outcome, op), seeds, folder)
    assert found["calls"] == len(seeds)
    words = found["outcomes"]
    for word in ("refused", "right"):
        assert words.get(word, 0) > len(seeds) / 50, f"the calls are no test: {words}"
    figures(f"calls of {op}", found["calls"], len(seeds))


@pytest.mark.parametrize("op", TESTERS)
def test_wrong_calls_are_refused_and_right_ones_are_right(op: str, tmp_path, figures) -> None:
    check(op, range(SLICE), tmp_path, figures)


@pytest.mark.slow
@pytest.mark.parametrize("op", TESTERS)
def test_thousands_of_calls(op: str, tmp_path: Path, figures) -> None:
    check(op, range(SLICE, SLICE + ALL), tmp_path, figures)


def test_every_operator_is_called() -> None:
    from mmattn.ops import OPERATORS

    assert {name.removesuffix("_attention") for name in OPERATORS} == {
        name.removesuffix("_attention") for name in TESTERS
    }


def test_a_crash_is_a_failure_with_its_input(tmp_path: Path) -> None:
    import faulthandler
    import os
    import signal

    def crash(number: int) -> None:
        faulthandler.disable()  # whose report is for real crashes
        if number == 3:
            os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(AssertionError, match="SIGSEGV at input 3"):
        call_each(crash, range(5), tmp_path)


def test_an_error_of_another_kind_is_a_failure_with_its_input(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"(?s)input 0.*ZeroDivisionError"):
        call_each(lambda number: str(1 / number), range(5), tmp_path)
