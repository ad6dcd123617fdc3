"""One config that crashes, hangs or takes all memory costs its own row; a run can be continued."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import compatibility_runs
from tests.support.compatibility import Outcome
from tests.support.compatibility_runs import Limits, forget, read_outcomes, run_cases
from tests.support.upstream_configs import ALGORITHMS, PROMISED, Case

FIRST, SECOND, THIRD = ALGORITHMS[:3]


def works(case: Case) -> Outcome:
    print("a library's words")
    ops = {"nms", "roi_align_forward"}
    idle = {"neck.weight": ""}
    return Outcome(case, True, True, True, 1.5, 3, idle, ops, needs={"lap": ""}, install="pip")


def crashes(case: Case) -> Outcome:
    print("the last words", flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("not reached")


def fetches(case: Case) -> Outcome:
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except OSError as error:
        return Outcome(case, error=str(error))
    raise AssertionError("not reached")


def hangs(case: Case) -> Outcome:
    time.sleep(60)
    raise AssertionError("not reached")


def takes_memory(case: Case) -> Outcome:
    held = bytearray(600 * 2**20)
    time.sleep(60)
    raise AssertionError(len(held))


def run(runner, limits: Limits | None = None) -> Outcome:
    return compatibility_runs.run_in_process(FIRST, limits or Limits(), runner)


def test_an_outcome_comes_back_whole() -> None:
    outcome = run(works)
    assert 0 < outcome.cpu_seconds < 60
    assert 0 < outcome.gigabytes < 10, "what is shared with the server does not count"
    assert replace(outcome, cpu_seconds=0.0, gigabytes=0.0) == works(FIRST)


def test_a_crash_is_an_outcome() -> None:
    outcome = run(crashes)
    assert not outcome.works
    assert outcome.error == "its process ended with exit code -11: the last words"


def test_a_config_that_fetches_fails() -> None:
    assert "tried to reach the network: ('127.0.0.1', 9)" in run(fetches).error


def test_a_config_that_hangs_is_ended() -> None:
    assert run(hangs, Limits(seconds=1)).error == "not finished within 1 s"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
def test_a_config_that_takes_too_much_memory_is_ended() -> None:
    assert run(takes_memory, Limits(gigabytes=0.5)).error == "more than 0.5 GB of memory"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The configs that ``run_cases`` runs, in this process."""
    configs = []

    def run_here(case: Case, limits: Limits) -> Outcome:
        configs.append(case.config)
        return works(case)

    monkeypatch.setattr(compatibility_runs, "run_in_process", run_here)
    monkeypatch.setattr(compatibility_runs, "_prepare_server", lambda limits: None)
    return configs


def test_a_run_goes_on_where_it_was(ran: list[str], tmp_path: Path) -> None:
    results = tmp_path / "work" / "outcomes.jsonl"
    run_cases([FIRST, SECOND], results, log=lambda line: None)
    cut_off = results.read_text()[:-30]  # the second one
    results.write_text(cut_off)
    ran.clear()
    outcomes = run_cases([THIRD, SECOND, FIRST], results, log=lambda line: None)
    assert sorted(ran) == sorted([SECOND.config, THIRD.config])
    assert [outcome.case for outcome in outcomes] == [THIRD, SECOND, FIRST]
    assert set(read_outcomes(results)) == {FIRST.config, SECOND.config, THIRD.config}


def test_what_failed_or_needs_a_package_is_run_again(ran: list[str], tmp_path: Path) -> None:
    results = tmp_path / "outcomes.jsonl"
    lacks = "MissingPackageError: model needs 'lap'"
    rows = [
        Outcome(FIRST, True, True, True),
        Outcome(SECOND, error="RuntimeError: a defect"),
        Outcome(THIRD, error=lacks, needs={"lap": ""}),
    ]

    def write() -> None:
        results.write_text("".join(compatibility_runs.dump(row) + "\n" for row in rows))

    write()
    forget(results, [FIRST, SECOND, THIRD], "failed")
    assert set(read_outcomes(results)) == {FIRST.config, THIRD.config}
    write()
    forget(results, [FIRST, SECOND, THIRD], "needs")
    assert set(read_outcomes(results)) == {FIRST.config, SECOND.config}
    write()
    forget(results, [FIRST], "failed")
    assert len(read_outcomes(results)) == 3, "other configs are left alone"


def test_idle_parameters_fail_a_promised_config_alone() -> None:
    idle = {"without_gradient": {"neck.weight": ""}}
    assert not Outcome(PROMISED[0], True, True, True, **idle).works
    assert Outcome(FIRST, True, True, True, **idle).works
