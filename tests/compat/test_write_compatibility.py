"""The page of compatibility is what the tool measured."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.compatibility import Outcome, run_case
from tests.support.compatibility_page import ALGORITHM_TITLE, render
from tests.support.upstream_configs import ALGORITHMS, ALL_CASES, CASES, PROMISED, Case


def run_tool(repo: Path, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.write_compatibility", *args],
        cwd=repo,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_tool_writes_what_it_measured(repo: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = run_tool(repo, "--only", "ddrnet", "--out", str(page))
    assert done.returncode == 0, done.stderr
    assert "1 of 1 configs work" in done.stdout
    check_page_of_ddrnet(page.read_text())


@pytest.mark.filterwarnings("ignore")  # mmseg's own
def test_the_page_has_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same within this process, which has imported mmseg already."""
    from tests.support import compatibility_runs, write_compatibility

    monkeypatch.setattr(compatibility_runs, "_prepare_server", lambda limits: None)
    monkeypatch.setattr(compatibility_runs, "run_in_process", lambda case, limits: run_case(case))
    page = tmp_path / "page.md"
    assert write_compatibility.main(["--only", "ddrnet", "--out", str(page)]) == 0
    check_page_of_ddrnet(page.read_text())


def check_page_of_ddrnet(text: str) -> None:
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
    [("compatibility.md", ALL_CASES), ("compatibility_originals.md", CASES)],
    ids=["forks", "originals"],
)
def test_committed_page_covers_the_table(repo: Path, name: str, cases: tuple[Case, ...]) -> None:
    page = (repo / "docs" / name).read_text()
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(listed) == sorted(case.config for case in cases), (
        "run python -m tests.support.write_compatibility"
    )


def outcome(case: Case, **rest) -> Outcome:
    return Outcome(case, builds=True, trains=True, predicts=True, **rest)


PROMISED_ONE, FIRST, SECOND, THIRD, FOURTH = PROMISED[0], *ALGORITHMS[:4]
ROWS = {
    "works": outcome(PROMISED_ONE, loss=1.25, trainable=2, ops={"nms"}),
    "idle": outcome(
        FIRST, loss=1.0, trainable=4, without_gradient={"neck.a.weight": "", "neck.a.bias": ""}
    ),
    "broken": Outcome(SECOND, builds=True, error="RuntimeError: in /me/site-packages/a.py: a | b"),
    "without": Outcome(
        THIRD,
        error="MissingPackageError: /me/a.py: model.tracker (ByteTracker) needs 'lap', which is "
        "not installed. To install: pip install lap",
        needs={"lap": ""},
        install="pip install lap",
    ),
    "with": outcome(
        FOURTH, loss=2.0, trainable=1, needs={"lap": "lap 0.5"}, install="pip install lap"
    ),
}


def page_of(*rows: Outcome) -> str:
    """The page of the first row as a promised config, and of the others."""
    return render({"Promised configs": [ROWS["works"]], ALGORITHM_TITLE: list(rows)})


def line_of(page: str, case: Case) -> str:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| `{case.config}`")]
    return line


def test_the_summary_counts_what_the_tables_show() -> None:
    page = page_of(*list(ROWS.values())[1:])
    head = page.split("\n## ")[0]
    told = "3 of 5 configs build, train and predict. 1 need an optional package"
    assert told in " ".join(head.split())
    assert "1 fail for another reason." in " ".join(head.split())
    assert "| Promised configs | 1 | 1 | 1 | 1 | 1 |" in head
    assert f"| {ALGORITHM_TITLE} | 2 | 2 | 1 | 1 | 1 |" in head
    assert "| Needs an optional package | 2 | 1 | 1 | 1 | 1 |" in head
    assert "| All | 5 | 4 | 3 | 3 | 3 |" in head
    assert "torch " in head and "--results outcomes.jsonl" in head, "versions, and how to write it"
    assert f"## {ALGORITHM_TITLE}: 1 of 2 work" in page


def test_a_package_has_a_table_of_its_own() -> None:
    page = page_of(ROWS["with"], ROWS["without"])
    told = line_of(page, THIRD)
    assert told.startswith(f"| `{THIRD.config}` | `pip install lap` | no lap | no | no |")
    assert told.endswith("| model.tracker (ByteTracker) needs 'lap' |"), "which part needs it"
    assert "| `pip install lap` | lap 0.5 | yes | yes: 2 | 1/1 | yes |" in line_of(page, FOURTH)
    assert f"- `{THIRD.config}`" not in page, "a package that is missing is no defect"


def test_a_failure_has_a_reason_in_its_row_and_the_error_below() -> None:
    page = page_of(ROWS["broken"])
    assert line_of(page, SECOND).endswith("| none | RuntimeError: in a.py: a \\| b |")
    below = page.split("## What does not work")[1].split("##")[0]
    assert f"- `{SECOND.config}`: RuntimeError: in a.py: a \\| b" in below
    known = replace(ROWS["broken"], case=replace(SECOND, why_not="a defect of mmdet"))
    assert line_of(page_of(known), SECOND).endswith("| none | a defect of mmdet |")


def test_what_is_heavy_is_told_with_its_measure() -> None:
    case = replace(FIRST, heavy="171 classes in 14 sentences each")
    page = page_of(replace(ROWS["idle"], case=case, cpu_seconds=241.0, gigabytes=6.2))
    told = page.split("## Heavy")[1].split("##")[0]
    assert f"- `{FIRST.config}`: 4 minutes of one processor, 6 GB of memory: 171 classes" in told
    assert line_of(page, FIRST).endswith("| heavy |")
    assert "Nothing." in page_of(ROWS["idle"]).split("## Heavy")[1].split("##")[0]


def test_idle_parameters_are_listed_by_module() -> None:
    assert f"- `{FIRST.config}`: `neck.a.*` (2)" in page_of(ROWS["idle"])
