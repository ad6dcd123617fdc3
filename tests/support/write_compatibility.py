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
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.compatibility import Outcome
    from tests.support.upstream_configs import Case

REPO = Path(__file__).resolve().parents[2]
COMMAND = "python -m tests.support.write_compatibility"
PACKAGES = ("torch", "torchvision", "numpy", "onedl-mmengine", "onedl-mmcv")
PACKAGES += ("onedl-mmdetection", "onedl-mmsegmentation")
PACKAGES += ("mmengine", "mmcv", "mmcv-lite", "mmdet", "mmsegmentation")
HEADER = """\
# Compatibility

Written by `{command}`; do not edit by hand.

Each config below is the file that mmdet or mmseg ships. It is built from its registry, trained for
one step on two tiny drawn images with targets (finite loss, a gradient that is not zero for every
trainable parameter, finite weights afterwards), and predicts on one (fields, shapes, finite
values). What is different from a real run is listed in `tests/support/compatibility.py`; nothing
is downloaded. The last column names the functions of mmcv's compiled extension that were called:
{extension}.

These are {family}; the page of the others is [{other}]({other}).

{versions}
"""
ALGORITHM_TITLE = "One config of every other folder"
ALGORITHM_TEXT = """\
A tiny scene leaves parts of many networks idle, such as the levels for large objects; for these
configs the number of parameters that a gradient reached is reported, not judged. Those that need an
optional package are below."""
NEEDS_TEXT = """\
mmattn names the package before it builds (MissingPackageError, exit code 3), where the model needs
it, or the data and metrics of the split that is run. `with it` says which version was there for
this row; `without` means that it was not, and that the columns show how far the config came."""
PAGES = {"the forks": "compatibility.md", "the original packages": "compatibility_originals.md"}
COLUMNS = "| config | builds | trains: loss | gradients reach | predicts | compiled ops called |"


NEEDS_COLUMNS = (
    "| config | install | with it | builds | trains: loss | gradients reach | predicts |"
)


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
    from tests.support.upstream_configs import ALGORITHMS, FURTHER, PROMISED

    promised = {"Promised configs": PROMISED, "Further operators": FURTHER}
    return promised | ({ALGORITHM_TITLE: ALGORITHMS} if family() == "the forks" else {})


def render(tables: dict[str, list[Outcome]]) -> str:
    """The page: versions, a table per group, and what each table cannot say in a cell."""
    here = family()
    (other,) = (page for name, page in PAGES.items() if name != here)
    facts = {"extension": extension_in_use(), "versions": versions()}
    page = [HEADER.format(command=COMMAND, family=here, other=other, **facts)]
    every = [outcome for outcomes in tables.values() for outcome in outcomes]
    if ALGORITHM_TITLE in tables:
        page += [summary(every), ""]
    for title, outcomes in tables.items():
        rows = [outcome for outcome in outcomes if outcome.case.strict or not outcome.needs]
        if not rows:
            continue
        working = sum(outcome.works for outcome in rows)
        page += [f"## {title}: {working} of {len(rows)} work", ""]
        if title == ALGORITHM_TITLE:
            page += [ALGORITHM_TEXT, ""]
        page += [COLUMNS, "|" + " --- |" * (COLUMNS.count("|") - 1), *map(row, rows), ""]
    extra = [outcome for outcome in every if outcome.needs and not outcome.case.strict]
    if extra:
        page += ["## Needs an optional package", "", NEEDS_TEXT, "", NEEDS_COLUMNS]
        page += ["|" + " --- |" * (NEEDS_COLUMNS.count("|") - 1), *map(needs_row, extra), ""]
    page += section("What does not work", every, failures)
    if any(outcome.case.note or outcome.case.trains_by_parts for outcome in every):
        page += section("Notes", every, notes)
    page += section("Parameters that the step cannot train", every, idle_parameters)
    return "\n".join(page).rstrip() + "\n"


def summary(outcomes: list[Outcome]) -> str:
    """The numbers of all configs in one sentence."""
    plain = [outcome for outcome in outcomes if not outcome.needs]
    counts = {
        verb: sum(getattr(outcome, verb) for outcome in plain)
        for verb in ("builds", "trains", "predicts")
    }
    parts = sum(bool(outcome.case.trains_by_parts) for outcome in plain)
    by_parts = f" ({parts} more are trained in parts)" if parts else ""
    extra = [outcome for outcome in outcomes if outcome.needs]
    measured = sum(outcome.works for outcome in extra)
    return (
        f"{len(outcomes)} configs. Of the {len(plain)} that need no further package, "
        f"{counts['builds']} build, {counts['trains']} train a step{by_parts} and "
        f"{counts['predicts']} predict. {len(extra)} need an optional package; {measured} of them "
        "were seen to work."
    )


def needs_row(outcome: Outcome) -> str:
    missing = [module for module, version in outcome.needs.items() if not version]
    there = ", ".join(version for version in outcome.needs.values() if version)
    reached = outcome.trainable - len(outcome.without_gradient)
    cells = (
        f"`{outcome.case.config}`",
        f"`{outcome.install}`",
        f"without {', '.join(missing)}" if missing else there,
        yes(outcome.builds),
        trains(outcome),
        f"{reached}/{outcome.trainable}" if outcome.trainable else "",
        yes(outcome.predicts),
    )
    return "| " + " | ".join(cells) + " |"


def trains(outcome: Outcome) -> str:
    if outcome.case.trains_by_parts:
        return "by parts"
    return f"yes: {outcome.loss:.4g}" if outcome.trains else "no"


def yes(value: bool) -> str:
    return "yes" if value else "no"


def row(outcome: Outcome) -> str:
    reached = outcome.trainable - len(outcome.without_gradient)
    cells = (
        f"`{outcome.case.config}`",
        yes(outcome.builds),
        trains(outcome),
        f"{reached}/{outcome.trainable}" if outcome.trainable else "",
        yes(outcome.predicts),
        ", ".join(sorted(outcome.ops)) or "none",
    )
    return "| " + " | ".join(cells) + " |"


def section(title: str, outcomes: list[Outcome], describe) -> list[str]:
    lines = [line for outcome in outcomes for line in describe(outcome)]
    return [f"## {title}", "", *(lines or ["Nothing."]), ""]


def failures(outcome: Outcome) -> list[str]:
    if outcome.needs and "MissingPackageError" in outcome.error:
        return []  # told with the package
    lines = [f"- `{outcome.case.config}`: {shown(outcome.error)}"] if outcome.error else []
    if outcome.unexplained and outcome.case.strict:
        names = ", ".join(f"`{name}`" for name in outcome.unexplained)
        lines.append(f"- `{outcome.case.config}`: no gradient reaches {names}")
    return lines


def shown(error: str) -> str:
    """An error without the folders of this machine."""
    return re.sub(r"/\S*/site-packages/", "", error).replace("|", "\\|")


def notes(outcome: Outcome) -> list[str]:
    case = outcome.case
    lines = [f"- `{case.config}`: {case.note}"] if case.note else []
    if case.trains_by_parts:
        lines.append(f"- `{case.config}`: not trained as a whole; {case.trains_by_parts}")
    return lines


def idle_parameters(outcome: Outcome) -> list[str]:
    """The idle parameters by reason: all of a promised config, the modules of another."""
    reasons: dict[str, list[str]] = {}
    for name, reason in outcome.without_gradient.items():
        reasons.setdefault(reason, []).append(name)
    lines = []
    for reason, names in reasons.items():
        if reason:
            listed = ", ".join(f"`{name}`" for name in names)
            lines.append(f"- `{outcome.case.config}`: {reason}: {listed}")
        elif not outcome.case.strict:
            listed = ", ".join(f"`{prefix}.*` ({count})" for prefix, count in grouped(names))
            lines.append(f"- `{outcome.case.config}`: {listed}")
    return lines


def grouped(names: list[str]) -> list[tuple[str, int]]:
    """Parameter names by their first two parts, with their number."""
    return list(Counter(".".join(name.split(".")[:2]) for name in names).items())


def versions() -> str:
    import platform

    found = ", ".join(f"{name} {version}" for name, version in installed().items())
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}; {found}."


def installed() -> dict[str, str]:
    """The versions of those of ``PACKAGES`` that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def family() -> str:
    """Which of ``PAGES`` the installed packages belong to."""
    return "the forks" if "onedl-mmdetection" in installed() else "the original packages"


def extension_in_use() -> str:
    import mmcv._ext as ext

    if getattr(ext, "__file__", None):
        return "here mmcv's own, since it is installed"
    return "here the bridge's, since mmcv is installed without it"


if __name__ == "__main__":
    sys.exit(main())
