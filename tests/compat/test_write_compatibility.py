"""The page of compatibility is what the tool measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.upstream_configs import CASES


def run_tool(repo: Path, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.write_compatibility", *args],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_tool_writes_what_it_measured(repo: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = run_tool(repo, "--only", "ddrnet", "--out", str(page))
    assert done.returncode == 0, done.stderr
    assert "1 of 1 configs work" in done.stdout
    text = page.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| `mmseg::ddrnet/")]
    builds, trains, reached, predicts = (cell.strip() for cell in line.split("|")[2:6])
    assert (builds, predicts) == ("yes", "yes")
    assert 0 < float(trains.removeprefix("yes: ")) < 100
    assert len(set(reached.split("/"))) == 1, "every parameter of DDRNet gets a gradient"
    assert "## Promised configs: 1 of 1 work" in text


def test_part_of_the_table_never_replaces_the_page(repo: Path) -> None:
    done = run_tool(repo, "--only", "ddrnet")
    assert done.returncode == 2
    assert "--out" in done.stderr


@pytest.mark.parametrize("name", ["compatibility.md", "compatibility_originals.md"])
def test_committed_page_covers_the_table(repo: Path, name: str) -> None:
    page = (repo / "docs" / name).read_text()
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert listed == [case.config for case in CASES], (
        "run python -m tests.support.write_compatibility"
    )
