"""RELIABILITY.md lists no promise without a test, and its command counts tests that exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "RELIABILITY.md").read_text(encoding="utf-8")
NODE = re.compile(r"`(tests/[\w/.-]+\.py)::(\w+)`")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tool_reliability", ROOT / "tools/reliability.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def promises() -> list[tuple[str, str]]:
    text = PAGE.partition("## Figures")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [(row[0], row[1]) for row in rows if row[0] not in ("promise", "---")]


@pytest.mark.parametrize(("promise", "proof"), promises())
def test_a_promise_has_tests_that_exist(promise: str, proof: str) -> None:
    named = NODE.findall(proof)
    assert named, "a promise without a test is not listed"
    assert not re.sub(NODE, "", proof).strip(" ,"), "name tests alone: `tests/file.py::test`"
    for file, test in named:
        assert test in functions_of(file), f"{file} has no {test}"


def test_the_page_has_promises() -> None:
    assert len(promises()) > 30


def test_the_command_counts_tests_that_exist(tool: ModuleType) -> None:
    for goal in tool.GOALS:
        there = [t for t in goal.tests if (ROOT / t.where.partition("::")[0]).exists()]
        assert there, f"nothing counts towards {goal.name!r}"
        for tests in there:
            file, _, name = tests.where.partition("::")
            assert not name or name in functions_of(file), tests.where


def test_the_table_of_the_page_is_of_these_goals(tool: ModuleType) -> None:
    rows = PAGE.partition(tool.BEGIN)[2].partition(tool.END)[0]
    for goal in tool.GOALS:
        assert goal.name in rows, f"run tools/reliability.py --write: {goal.name!r} is new"


RESULTS = """<testsuites><testsuite name="abc" timestamp="2026-01-02T03:04:05">
<testcase classname="tests.x.test_a" name="test_one[a-20]"/>
<testcase classname="tests.x.test_a" name="test_one[a-200]"><failure message="no"/></testcase>
<testcase classname="tests.x.test_a" name="test_two"><skipped/></testcase>
<testcase classname="tests.x.test_b.TestB" name="test_three"><properties>
<property name="reliability" value="calls of x: 60 of 60"/>
<property name="reliability" value="others: 1 of 1"/></properties></testcase>
</testsuite></testsuites>"""


def test_results_are_counted_by_hand(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text(RESULTS)
    results = tool.Results()
    results.add(tmp_path / "r.xml")
    assert results.runs == {"commit abc, 2026-01-02"}
    a = "tests/x/test_a.py"
    assert results.count(tool.Tests(f"{a}::test_one")) == tool.Count(1, 2, 1)
    assert results.count(tool.Tests(f"{a}::test_one", "id")) == tool.Count(20, 220, 1)
    assert results.count(tool.Tests(a, 5)) == tool.Count(5, 10, 1, 1)
    (tmp_path / "q.xml").write_text(RESULTS.replace('"abc"', '"abc quick"'))
    quick = tool.Results()
    quick.add(tmp_path / "q.xml")
    assert quick.count(tool.Tests(a)).slices == 3
    calls = tool.Tests("tests/x/test_b.py", figure="calls of")
    assert results.count(calls) == tool.Count(60, 60)

    goal = tool.Goal("g", "60", 60, (calls,))
    nothing = tool.Goal("h", "1", 1, (tool.Tests("tests/x/test_c.py"),))
    measured = tool.measure([goal, nothing], results)
    assert [tool.verdict(*one) for one in measured] == ["met", "not measured"]
    assert tool.verdict(goal, tool.Count(59, 59)) == "missed"
    assert tool.verdict(goal, tool.Count(59, 59, slices=1)) == "slice"
    whole = tool.Goal("g", "60", 60, (calls,), whole=True)
    assert tool.verdict(whole, tool.Count(60, 60, slices=1)) == "slice"
    assert tool.verdict(goal, tool.Count(60, 60, 1)) == "missed", "a test without a figure failed"
    text = tool.table(measured, results.runs)
    assert "| g | 60 | 60 of 60 | met |" in text and "| h | 1 |  | not measured |" in text
