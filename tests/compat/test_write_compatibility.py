"""The page of compatibility is what the tool measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.compatibility import Outcome
from tests.support.upstream_configs import ALGORITHMS, ALL_CASES, CASES, PROMISED, Case
from tests.support.write_compatibility import ALGORITHM_TITLE, render


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


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        pytest.param(
            *("compatibility.md", ALL_CASES),
            marks=pytest.mark.xfail(
                reason="the page of all algorithm folders is not written yet", strict=True
            ),
        ),
        ("compatibility_originals.md", CASES),
    ],
    ids=["forks", "originals"],
)
def test_committed_page_covers_the_table(repo: Path, name: str, cases: tuple[Case, ...]) -> None:
    page = (repo / "docs" / name).read_text()
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(listed) == sorted(case.config for case in cases), (
        "run python -m tests.support.write_compatibility"
    )


ROWS = (
    Outcome(PROMISED[0], True, True, True, 1.25, 2, ops={"nms"}),
    Outcome(ALGORITHMS[1], True, True, True, 1.0, 4, {"neck.a.weight": "", "neck.a.bias": ""}),
    Outcome(
        ALGORITHMS[2],
        builds=True,
        error="RuntimeError: in /home/me/site-packages/mmdet/a.py: a | b",
    ),
    Outcome(
        ALGORITHMS[3],
        error="MissingPackageError: model.tracker needs 'lap'",
        needs={"lap": ""},
        install="pip install lap",
    ),
    Outcome(
        ALGORITHMS[4], True, True, True, 2.0, 1, needs={"lap": "lap 0.5"}, install="pip install lap"
    ),
)


def test_the_page_has_a_section_for_each_end() -> None:
    page = render({"Promised configs": [ROWS[0]], ALGORITHM_TITLE: list(ROWS[1:])})
    assert "5 configs. Of the 3 that need no further package, 3 build, 2 train a step" in page
    assert "2 need an optional package; 1 of them" in page
    assert f"## {ALGORITHM_TITLE}: 1 of 2 work" in page
    assert f"| `{ROWS[3].case.config}` | `pip install lap` | without lap | no | no |" in page
    assert f"| `{ROWS[4].case.config}` | `pip install lap` | lap 0.5 | yes | yes: 2 |" in page
    broken = page.split("## What does not work")[1].split("##")[0]
    assert f"- `{ROWS[2].case.config}`: RuntimeError: in mmdet/a.py: a \\| b" in broken
    assert ROWS[3].case.config not in broken, "a package that is missing is no defect"
    assert f"- `{ROWS[1].case.config}`: `neck.a.*` (2)" in page
