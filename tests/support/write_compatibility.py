#!/usr/bin/env python
"""Run the table of unmodified mmdet and mmseg configs and write docs/compatibility.md.

With the original packages in place of the forks it writes docs/compatibility_originals.md.

Example:
    python -m tests.support.write_compatibility --only yolox --out yolox.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.compatibility import Outcome

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
PAGES = {"the forks": "compatibility.md", "the original packages": "compatibility_originals.md"}
COLUMNS = "| config | builds | trains: loss | gradients reach | predicts | compiled ops called |"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="TEXT", help="run the configs whose name contains TEXT (needs --out)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: docs/compatibility*.md")
    args = parser.parse_args(argv)
    if args.only and not args.out:
        parser.error("--only would leave docs/compatibility.md incomplete: give --out FILE too")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    import warnings

    import mmattn  # noqa: F401  (the bridge)
    from mmattn.io import atomic_write
    from tests.support.compatibility import run_case
    from tests.support.upstream_configs import FURTHER, PROMISED

    warnings.simplefilter("ignore")
    tables = {}
    for title, cases in (("Promised configs", PROMISED), ("Further operators", FURTHER)):
        outcomes = tables[title] = []
        for case in cases:
            if args.only and args.only not in case.config:
                continue
            outcomes.append(outcome := run_case(case))
            verdict = (
                "ok" if outcome.works else f"FAILED {outcome.error or 'gradients are missing'}"
            )
            print(f"{case.config}: {verdict}", flush=True)
    every = [outcome for outcomes in tables.values() for outcome in outcomes]
    if not every:
        print(f"no config of the table contains {args.only!r}", file=sys.stderr)
        return 2
    path = args.out or REPO / "docs" / PAGES[family()]
    with atomic_write(path) as file:
        file.write(render(tables).encode())
    working = sum(outcome.works for outcome in every)
    print(f"{working} of {len(every)} configs work; written to {path}")
    return 0 if working == len(every) else 1


def render(tables: dict[str, list[Outcome]]) -> str:
    """The page: versions, a table per group, and what each table cannot say in a cell."""
    here = family()
    (other,) = (page for name, page in PAGES.items() if name != here)
    facts = {"extension": extension_in_use(), "versions": versions()}
    page = [HEADER.format(command=COMMAND, family=here, other=other, **facts)]
    for title, outcomes in tables.items():
        if not outcomes:
            continue
        working = sum(outcome.works for outcome in outcomes)
        page += [f"## {title}: {working} of {len(outcomes)} work", "", COLUMNS]
        page += ["|" + " --- |" * (COLUMNS.count("|") - 1), *map(row, outcomes), ""]
    every = [outcome for outcomes in tables.values() for outcome in outcomes]
    page += section("What does not work", every, failures)
    page += section("Parameters that the step cannot train", every, idle_parameters)
    return "\n".join(page).rstrip() + "\n"


def row(outcome: Outcome) -> str:
    reached = outcome.trainable - len(outcome.without_gradient)
    trains = f"yes: {outcome.loss:.4g}" if outcome.trains else "no"
    cells = (
        f"`{outcome.case.config}`",
        "yes" if outcome.builds else "no",
        trains,
        f"{reached}/{outcome.trainable}" if outcome.trainable else "",
        "yes" if outcome.predicts else "no",
        ", ".join(sorted(outcome.ops)) or "none",
    )
    return "| " + " | ".join(cells) + " |"


def section(title: str, outcomes: list[Outcome], describe) -> list[str]:
    lines = [line for outcome in outcomes for line in describe(outcome)]
    return [f"## {title}", "", *(lines or ["Nothing."]), ""]


def failures(outcome: Outcome) -> list[str]:
    lines = [f"- `{outcome.case.config}`: {outcome.error}"] if outcome.error else []
    if outcome.unexplained:
        names = ", ".join(f"`{name}`" for name in outcome.unexplained)
        lines.append(f"- `{outcome.case.config}`: no gradient reaches {names}")
    return lines


def idle_parameters(outcome: Outcome) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, reason in outcome.without_gradient.items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    return [
        f"- `{outcome.case.config}`: {reason}: {', '.join(names)}"
        for reason, names in reasons.items()
        if reason
    ]


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
