"""Promise: a rank that raises, dies or hangs ends all, and its error is the one that is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.two_ranks import run_ranks
from tests.support.watched_ranks import FAULTS, HARMLESS

DEFAULT = ("raises-1",)
SAID = {
    "refused": "ConfigError: model.decode_haed: there is no such key",
    "raises": "ValueError: the first error",
    "killed": "ended without a word",
    "exits": "ended without a word",
    "ends-early": "",
    "hangs": "no progress",
    "stopped": "does not answer",
    "locks": "does not answer",
    "locks-first": "does not answer",
    "hangs-first": "without computing anything",
    "hangs-spun": "without computing anything",
    "hangs-batch": "without computing anything",
    "hangs-epoch": "without computing anything",
}
CODES = {"refused": 2, "raises": 1}


@pytest.mark.parametrize(
    "fault", [pytest.param(f, marks=() if f in DEFAULT else pytest.mark.slow) for f in FAULTS]
)
def test_all_ranks_end_and_the_first_error_is_read_last(fault: str, repo: Path) -> None:
    codes, texts = run_ranks(repo, *2 * [["tests.support.watched_ranks", fault]])
    kind, _, who = fault.rpartition("-")
    failed, other = int(who), 1 - int(who)
    assert codes[other] != 0, texts
    if kind in CODES:
        assert codes == [CODES[kind]] * 2, texts
    lines = [text.strip().splitlines() for text in texts]
    # Of rank 0, or where that one cannot say anything any more, of the other.
    reader = 1 if failed == 0 and kind in ("killed", "exits", "stopped", "locks") else 0
    assert lines[reader], texts
    assert SAID[kind] in lines[reader][-1], texts
    if kind in ("killed", "exits"):
        assert f"rank {failed}" in lines[reader][-1]


@pytest.mark.slow
@pytest.mark.parametrize("harmless", HARMLESS)
def test_a_rank_that_is_only_slow_ends_nothing(harmless: str, repo: Path) -> None:
    codes, texts = run_ranks(repo, *2 * [["tests.support.watched_ranks", harmless]])
    assert codes == [0, 0], texts


@pytest.mark.slow
@pytest.mark.parametrize("refused", [0, 1])
def test_a_rank_that_is_refused_before_it_reads_its_config(
    refused: int, repo: Path, tmp_path: Path
) -> None:
    # The other one reads a config for longer than this test may take.
    (tmp_path / "slow.py").write_text("import time\n\ntime.sleep(100000)\n")
    commands = [["mmattn", "train", str(tmp_path / "slow.py"), "--launcher", "pytorch"]] * 2
    commands[refused] = [*commands[refused][:2], "missing.py", *commands[refused][3:]]
    codes, texts = run_ranks(repo, *commands)
    assert codes == [2, 2], texts
    assert "ConfigError: There is no config missing.py" in texts[0].strip().splitlines()[-1]
