#!/usr/bin/env python
"""Run the harnesses behind RELIABILITY.md and print its table of figures, measured here and now.

The whole run takes hours on two cores; --quick runs the slices that the default tests run.

Example:
    python tools/reliability.py --quick
    python tools/reliability.py --write                   # everything; puts the table into the page
    python tools/reliability.py --goal decoders --goal COCO --keep figures
    python tools/reliability.py --from figures --write    # from results that earlier runs kept
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PAGE = REPO / "RELIABILITY.md"
#: Behind the commit in the name of a suite of a run with ``--quick``.
QUICK = "quick"
BEGIN, END = "<!-- figures: tools/reliability.py -->", "<!-- end of the figures -->"


@dataclass(frozen=True)
class Tests:
    """Tests that count towards a goal.

    Attributes:
        where: A file, or a test of it with all its parameters.
        each: How many cases a passed test stands for; ``"id"`` takes the number in its parameters.
        figure: Beginning of the figures that the tests record with the fixture ``figures``; these
            are added up instead.
        only: Beginning of the parameters of the tests that count; all where it is empty.
    """

    where: str
    each: int | str = 1
    figure: str = ""
    only: str = ""


@dataclass(frozen=True)
class Goal:
    """One row of the table.

    Attributes:
        name: What is done.
        wanted: The goal in words.
        at_least: Number of cases; all that ran must pass, too.
        tests: Where they are.
        note: What the figure leaves out; may be empty.
        whole: Whether a quick run, whose tests are as many but shorter, does not meet it.
    """

    name: str
    wanted: str
    at_least: int
    tests: tuple[Tests, ...]
    note: str = ""
    whole: bool = False


GOALS = (
    Goal(
        "SIGKILL at random moments of saving, one checkpoint kept: a resume finds one",
        "40 in each run",
        40,
        (Tests(
             "tests/engine/hooks/test_checkpoint.py"
             "::test_kills_leave_a_checkpoint_to_resume_from", "id"),),
    ),
    Goal(
        "I/O faults (a full disk, a quota, read-only, too many files, EIO, EACCES) at each point "
        "of a save: an older checkpoint stays",
        "64",
        64,
        (Tests("tests/faults/test_disk_faults.py"),
         Tests("tests/io/test_atomic.py"),
         Tests("tests/engine/hooks/test_checkpoint.py::test_failed_save_keeps_what_was_there")),
    ),
    Goal(
        "damaged checkpoints are recognised (bits, cuts, zeros, swapped blocks, more bytes)",
        "200",
        200,
        (Tests("tests/faults/test_damaged_checkpoints.py::test_every_damage_is_recognised", "id"),),
    ),
    Goal(
        "matrix of resumes: bit-exact whatever the loop, data, workers, EMA, accumulation, bf16",
        "48",
        48,
        (Tests("tests/faults/test_resume_matrix.py::test_a_stop_changes_nothing"),),
        "on the CPU; each resumes with another number of workers",
    ),
    Goal(
        "SIGTERM, SIGUSR1 and SIGINT at random times: a clean exit, an exact resume",
        "50",
        50,
        (Tests("tests/faults/test_stop_signals.py::test_signals_at_random_times", 2),
         Tests("tests/faults/test_stop_signals.py::test_twenty_five_signals_at_random_times", 25)),
        "at most: a training that ends before its last signals counts as if it had got all",
    ),
    Goal(
        "malicious artefacts (pickles, configs, archives, lists, links): refused, nothing runs",
        "40",
        40,
        (Tests("tests/bridge/test_hostile_checkpoints.py"),
         Tests("tests/io/test_inert_pickle.py"),
         Tests("tests/faults/test_malicious_files.py")),
    ),
    Goal(
        "bad inputs, each with its documented verdict",
        "150",
        150,
        (Tests("tests/faults/test_coco_files.py::test_a_wrong_file_gets_its_verdict"),
         Tests("tests/faults/test_other_formats.py"),
         Tests("tests/faults/test_manifest.py"),
         Tests("tests/boxes/test_bad_boxes.py"),
         Tests("tests/images/test_reader.py"),
         Tests("tests/data/test_folder_dataset.py::test_what_masks_do_not_say_is_refused_with_the_fix")),
    ),
    Goal(
        "wrong configs are refused before the first log line",
        "53",
        53,
        (Tests("tests/faults/test_configs.py::test_a_wrong_config_is_refused"),
         Tests("tests/faults/test_configs.py::test_a_file_that_is_no_config")),
    ),
    Goal(
        "damaged images through the decoders: an image or a DataError",
        "10 000",
        10_000,
        (Tests("tests/fuzz/test_damaged_files.py", figure="damaged images", only="images"),),
    ),
    Goal(
        "damaged masks: labels or a DataError",
        "2000",
        2000,
        (Tests("tests/fuzz/test_damaged_files.py", figure="damaged masks", only="masks"),),
    ),
    Goal(
        "damaged COCO files: records, a DataError or a ConfigError",
        "5000",
        5000,
        (Tests("tests/fuzz/test_damaged_files.py", figure="damaged coco", only="coco"),),
    ),
    Goal(
        "damaged configs: a config or a ConfigError",
        "2000",
        2000,
        (Tests("tests/fuzz/test_damaged_files.py", figure="damaged configs", only="configs"),),
    ),
    Goal(
        "properties over random inputs, 200 of each",
        "60",
        60,
        tuple(
            Tests(f"tests/fuzz/test_{name}.py")
            for name in ("annotation_files", "boxes", "configs", "images", "masks", "numbers",
                         "operators", "tiles", "written_files")
        ),
        whole=True,
    ),
    Goal(
        "random detection datasets against pycocotools, to 1e-12",
        "2000",
        2000,
        (Tests("tests/evaluation/detection/test_coco_equality.py", figure="detection datasets"),),
    ),
    Goal(
        "random segmentation datasets against a loop over all pixels, exactly",
        "1000",
        1000,
        (Tests("tests/evaluation/semantic/test_naive_iou.py", figure="semantic datasets"),),
    ),
    Goal(
        "calls of eight operators with wrong shapes, strides, dtypes, devices, values: no crash",
        "2000 of each",
        8 * 2000,
        (Tests("tests/fuzz/test_operator_calls.py", figure="calls of"),),
        "on the CPU; without a sanitizer",
    ),
    Goal(
        "numbers that are not finite (site x system): weights unchanged, the step is named",
        "40",
        40,
        (Tests("tests/engine/numerics/test_injections.py::test_injection"),
         Tests("tests/engine/numerics/test_guard.py"),
         Tests("tests/distributed/test_poisoned_ranks.py")),
    ),
    Goal(
        "every system: a finite loss without a box or a labelled pixel, sizes from 1 x 1 to "
        "97 x 97, no unused parameter, the same bits in a second run",
        "27 systems, 27 cases each",
        27 * 27,
        (Tests("tests/faults/test_every_system.py"),
         Tests("tests/engine/numerics/test_empty_batches.py")),
        "narrowed, on the CPU",
    ),
    Goal(
        "exported files equal torch at five sizes, to 1e-4 of the largest output",
        "every exportable system",
        5 * 26,
        (Tests("tests/export/test_onnx_export.py"
               "::test_dynamic_file_matches_torch_at_every_size", 5),
         Tests("tests/export/test_export_mmseg_models.py", 5),
         Tests("tests/export/test_detection_heads.py::test_files_find_what_torch_finds", 5),
         Tests("tests/export/test_detection_export.py"
               "::test_the_report_tells_detections_and_average_precision", 5),
         Tests("tests/projects/bevanet/test_bevanet_export.py::test_onnx_with_free_sizes", 5),
         Tests("tests/projects/dynamic_head/test_dynamic_head_export.py"
               "::test_export_of_the_command_line", 5),
         Tests("tests/projects/mask2former/test_mask2former_export.py::test_semantic_maps", 5),
         Tests("tests/projects/mask2former/test_mask2former_export.py::test_instances", 5),
         Tests("tests/projects/mask2former/test_mask2former_export.py::test_panoptic_maps", 5)),
        "in onnxruntime, on the CPU; of Dynamic Head with ATSS",
    ),
    Goal(
        "faults of one of two processes (it raises, hangs, is killed, refused, stopped): all end",
        "12",
        12,
        (Tests("tests/distributed/test_rank_watch.py"), Tests("tests/faults/test_two_ranks.py")),
    ),
)  # fmt: skip


@dataclass
class Count:
    """Passed and counted cases of a goal.

    Attributes:
        passed: Cases that passed.
        of: Cases that ran.
        failed_tests: Tests that failed.
        skipped: Tests that were skipped.
        slices: Tests of a run with ``--quick``.
    """

    passed: int = 0
    of: int = 0
    failed_tests: int = 0
    skipped: int = 0
    slices: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.passed + other.passed, self.of + other.of,
            self.failed_tests + other.failed_tests, self.skipped + other.skipped,
            self.slices + other.slices,
        )  # fmt: skip


@dataclass
class Results:
    """Test cases of some runs of pytest.

    Attributes:
        cases: (file::test, its parameters) -> element of the JUnit file, and whether its run was a
            quick one; later runs replace earlier ones.
        runs: Commits and days of the runs.
    """

    cases: dict[tuple[str, str], tuple[ET.Element, bool]] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)

    def add(self, file: Path) -> None:
        """Add what pytest wrote with ``--junitxml``."""
        for suite in ET.parse(file).getroot().iter("testsuite"):
            day = suite.get("timestamp", "")[:10]
            commit, _, kind = suite.get("name", "").partition(" ")
            self.runs.add(f"commit {commit}, {day}")
            for case in suite.iter("testcase"):
                name, _, parameters = case.get("name", "").partition("[")
                module = case.get("classname", "")
                # tests.ops.test_x.TestX names a class in the file.
                parts = module.split(".")
                last = next((i for i, part in enumerate(parts) if part.startswith("test_")), -1)
                path = "/".join(parts[: last + 1]) + ".py"
                inner = "::".join([*parts[last + 1 :], name])
                self.cases[f"{path}::{inner}", parameters] = case, kind == QUICK

    def count(self, tests: Tests) -> Count:
        """Count the cases of some tests."""
        total = Count()
        for (node, parameters), (case, quick) in self.cases.items():
            counts = node == tests.where or node.startswith(f"{tests.where}::")
            if counts and parameters.startswith(tests.only):
                total += _count(case, parameters, tests) + Count(slices=int(quick))
        return total


def _count(case: ET.Element, parameters: str, tests: Tests) -> Count:
    if case.find("skipped") is not None:
        return Count(skipped=1)
    failed = case.find("failure") is not None or case.find("error") is not None
    if tests.figure:
        total = Count(failed_tests=int(failed))
        for found in case.iter("property"):
            match = re.fullmatch(r"(.*): (\d+) of (\d+)", found.get("value", ""))
            if found.get("name") == "reliability" and match and match[1].startswith(tests.figure):
                total += Count(int(match[2]), int(match[3]))
        return total
    worth = tests.each
    if isinstance(worth, str):
        numbers = re.findall(r"\d+", parameters)
        worth = int(numbers[-1]) if numbers else 1
    return Count(0 if failed else worth, worth, int(failed))


def measure(goals: Sequence[Goal], results: Results) -> list[tuple[Goal, Count]]:
    """Return each goal with its count."""
    return [(goal, sum((results.count(t) for t in goal.tests), Count())) for goal in goals]


def verdict(goal: Goal, count: Count) -> str:
    """Return ``met``, ``missed``, ``not measured``, or ``slice`` where only a part was run."""
    if count.of == 0 and not count.failed_tests:
        return "not measured"
    if count.passed < count.of or count.failed_tests:
        return "missed"
    if count.passed >= goal.at_least and not (goal.whole and count.slices):
        return "met"
    return "slice" if count.slices else "missed"


def table(measured: Iterable[tuple[Goal, Count]], runs: Iterable[str]) -> str:
    """Return the table in Markdown, with where and when it was measured."""
    import platform

    from mmattn.environment import processor

    lines = [
        "| what | goal | measured | |",
        "| --- | --- | --- | --- |",
    ]
    for goal, count in measured:
        figure = f"{count.passed} of {count.of}" if count.of else ""
        figure += f", {count.failed_tests} tests failed" if count.failed_tests else ""
        figure += f", {count.skipped} skipped" if count.skipped else ""
        name = f"{goal.name} ({goal.note})" if goal.note else goal.name
        lines.append(f"| {name} | {goal.wanted} | {figure} | {verdict(goal, count)} |")
    where = f"{os.cpu_count()} cores of {processor()}, {platform.system()} {platform.machine()}"
    when = "; ".join(sorted(runs)) or "nothing yet"
    note = (
        f"`slice`: only the default run's part of the tests was run. Measured with {where}: {when}."
    )
    return "\n".join([*lines, "", note])


def run_tests(goals: Sequence[Goal], report: Path, quick: bool) -> None:
    """Run the tests of some goals and write pytest's report."""
    files = {t.where.partition("::")[0] for goal in goals for t in goal.tests}
    missing = sorted(name for name in files if not (REPO / name).exists())
    if missing:
        print("not in this checkout:", *missing)
    wanted = sorted(
        {t.where for goal in goals for t in goal.tests if t.where.partition("::")[0] not in missing}
    )
    # A plus is behind the commit where files were changed since.
    describe = ["git", "describe", "--always", "--exclude=*", "--abbrev=10", "--dirty=+"]
    said = subprocess.run(describe, cwd=REPO, capture_output=True, text=True, check=False)
    commit = said.stdout.strip()
    marks, kind = ("not slow and not gpu", f" {QUICK}") if quick else ("not gpu", "")
    command = [
        *(sys.executable, "-m", "pytest", *wanted, "-q", "-m", marks),
        *(f"--junitxml={report}", "-o", "junit_family=xunit1"),
        *("-o", f"junit_suite_name={commit or 'unknown'}{kind}"),
    ]
    environment = dict(os.environ)
    environment.setdefault("MMATTN_FUZZ", "ci" if quick else "nightly")
    subprocess.run(command, cwd=REPO, env=environment, check=False)


def write(text: str) -> None:
    """Put the table between the two marks of the page."""
    page = PAGE.read_text(encoding="utf-8")
    start, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:start]}\n{text}\n{page[end:]}", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 1 when a goal that was measured is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="run the slices of the default run")
    parser.add_argument(
        "--goal", action="append", metavar="WORD", help="only goals with this word; several times"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep pytest's results in DIR")
    parser.add_argument(
        "--from", dest="given", type=Path, metavar="DIR", help="run nothing: take results of DIR"
    )
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    args = parser.parse_args(argv)
    words = [word.casefold() for word in args.goal or ()]
    goals = [g for g in GOALS if not words or any(word in g.name.casefold() for word in words)]
    if not goals:
        parser.error(f"no goal has {' or '.join(args.goal)} in its name")
    results = Results()
    if args.given:
        # The latest last: it replaces earlier results of the same test.
        for file in sorted(args.given.glob("*.xml"), key=lambda f: f.stat().st_mtime):
            results.add(file)
    else:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "results.xml"
            if args.keep:
                args.keep.mkdir(parents=True, exist_ok=True)
                number = len(list(args.keep.glob("*.xml")))
                report = args.keep.resolve() / f"{number:03d}.xml"
            run_tests(goals, report, args.quick)
            if report.exists():
                results.add(report)
    measured = measure(goals, results)
    text = table(measured, results.runs)
    print(text)
    if args.write:
        write(text)
    return int(any(verdict(goal, count) == "missed" for goal, count in measured))


if __name__ == "__main__":
    sys.exit(main())
