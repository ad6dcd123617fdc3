#!/usr/bin/env python
"""Run the table of unmodified mmdet and mmseg configs and write docs/compatibility.md.

Each config runs in a process of its own with a limit of time and memory, and its outcome goes to a
file at once: a run that was stopped goes on where it was. With the original packages in place of
the forks it runs the promised configs and writes docs/compatibility_originals.md.

A config that needs an optional package counts with it where the package is installed: run those
again in an environment that has it, with the same file (``--again needs``).

Example:
    python -m tests.support.write_compatibility --only yolox --out yolox.md
    python -m tests.support.write_compatibility --again failed --jobs 2
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.upstream_configs import Case

REPO = Path(__file__).resolve().parents[2]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="TEXT", help="run the configs whose name contains TEXT (needs --out)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: docs/compatibility*.md")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="JSON lines of the outcomes; what it has is not run again "
        "(default: a file that is thrown away)",
    )
    parser.add_argument(
        "--again",
        choices=("failed", "needs"),
        help="run those in --results again that failed, or that need an optional package",
    )
    parser.add_argument("--jobs", type=int, default=1, help="configs at the same time (default: 1)")
    parser.add_argument("--threads", type=int, default=0, help="threads of torch for each of them")
    parser.add_argument("--seconds", type=float, default=900.0, help="limit of each config")
    parser.add_argument("--gigabytes", type=float, default=12.0, help="memory limit of each config")
    args = parser.parse_args(argv)
    if args.only and not args.out:
        parser.error("--only would leave docs/compatibility.md incomplete: give --out FILE too")
    if args.again and not args.results:
        parser.error("--again needs --results, which says what failed")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        results = args.results or Path(folder) / "outcomes.jsonl"
        return run(args, results)


def run(args: argparse.Namespace, results: Path) -> int:
    """Run what is not in ``results`` yet, write the page, and return the exit code."""
    from mmattn.io import atomic_write
    from tests.support.compatibility_page import PAGES, family, render
    from tests.support.compatibility_runs import Limits, forget, run_cases

    table = {
        title: [case for case in cases if not args.only or args.only in case.config]
        for title, cases in groups().items()
    }
    every = [case for cases in table.values() for case in cases]
    if not every:
        print(f"no config of the table contains {args.only!r}", file=sys.stderr)
        return 2
    if args.again:
        forget(results, every, args.again)
    limits = Limits(args.seconds, args.gigabytes, args.threads)
    outcomes = run_cases(every, results, limits, args.jobs, lambda line: print(line, flush=True))
    by_config = {outcome.case.config: outcome for outcome in outcomes}
    tables = {title: [by_config[case.config] for case in cases] for title, cases in table.items()}
    path = args.out or REPO / "docs" / PAGES[family()]
    with atomic_write(path) as file:
        file.write(render(tables).encode())
    working = sum(outcome.works for outcome in outcomes)
    print(f"{working} of {len(outcomes)} configs work; written to {path}")
    promised = [outcome for outcome in outcomes if outcome.case.strict]
    return 0 if all(outcome.works for outcome in promised) else 1


def groups() -> dict[str, tuple[Case, ...]]:
    """The sections of the page with their configs, as the installed family has them."""
    from tests.support.compatibility_page import ALGORITHM_TITLE, family
    from tests.support.upstream_configs import ALGORITHMS, FURTHER, PROMISED

    promised = {"Promised configs": PROMISED, "Further operators": FURTHER}
    return promised | ({ALGORITHM_TITLE: ALGORITHMS} if family() == "the forks" else {})


if __name__ == "__main__":
    sys.exit(main())
