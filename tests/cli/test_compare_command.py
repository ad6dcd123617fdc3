"""``mmattn compare``: which options each of its uses needs, before anything heavy is imported."""

from __future__ import annotations

import pytest

from mmattn.cli.compare import main, parse_args

BLOCKS = ["a.py", "--insert", "SE", "--at", "neck"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: CONFIG, --insert, --at"),
        (BLOCKS, "give --budget, the length of each run, or --total"),
        (["a.py", "--insert", "SE", "--budget", "5it"], "required: --at"),
        ([*BLOCKS, "--budget", "5it", "--total", "2h"], "not allowed with argument"),
        (["a.py", "--error-rate"], "required: --budget"),
        (["a.py", "--replay", "run.lock"], "leave config out"),
        (["--replay", "run.lock", "--metric", "mAcc"], "leave metric out"),
        (["--replay", "run.lock", "--dry-run", "--out", "o"], "leave out, dry-run out"),
        (["--replay", "run.lock", "--error-rate"], "leave error-rate out"),
        (["--error-rate", "--seeds", "3"], "--error-rate without CONFIG takes no seeds"),
        (["a.py", "--error-rate", "--budget", "5it", "--dry-run"], "leave dry-run out"),
        ([*BLOCKS, "--budget", "5it", "--pairs", "9"], "a comparison takes no pairs"),
        (["--error-rate", "--pairs", "0"], "--pairs 0: must be at least 1"),
    ],
)
def test_what_is_missing_is_named(words: list[str], said: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_args(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_each_use_takes_its_options() -> None:
    assert parse_args([*BLOCKS, "--budget", "5it"]).seeds == 5
    assert parse_args([*BLOCKS, "--total", "2h", "--devices", "cuda:0"]).devices == "cuda:0"
    assert parse_args(["--replay", "run.lock", "--data-root", "d"]).replay == "run.lock"
    assert parse_args(["--error-rate"]).pairs is None
    assert parse_args(["a.py", "--error-rate", "--budget", "9it", "--hosts", "40"]).hosts == 40


def test_the_simulation_is_one_command(capsys) -> None:
    assert main(["--error-rate", "--pairs", "1"]) == 0
    assert "equal networks called different (goal: at most 5%)" in capsys.readouterr().out


def test_a_lock_that_is_not_there_ends_in_one_line(capsys) -> None:
    assert main(["--replay", "no/such/run.lock"]) == 4
    assert "no/such/run.lock" in capsys.readouterr().err
