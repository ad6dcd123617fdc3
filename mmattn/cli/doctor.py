"""``mmattn doctor``: what this installation is made of, and what is broken in it."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from . import _arguments as arguments
from ._run import run

if TYPE_CHECKING:
    from mmattn.doctor import Section

EXAMPLES = """\
%(prog)s
%(prog)s --check                  # compares the operators with their reference
%(prog)s --json > doctor.json     # for a bug report
"""
NOTES = """\
The exit code is 1 where something that is needed does not work: a package that cannot be imported,
two families of OpenMMLab's packages over each other, an operator that computes wrong numbers, a
folder that cannot be written to. python -m mmattn.ops doctor has every backend, dtype and time.
"""
_WIDTH = 100


def parse_args(argv: list[str] | None = None, prog: str = "mmattn doctor") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Show versions, optional packages, operators, GPUs, folders and variables, and what is "
        "broken.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare what each operator's backends compute with plain torch in float64",
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn doctor") -> int:
    """Examine and print; returns the exit code, 1 where something is broken."""
    args = parse_args(argv, prog)
    return run(lambda: _examine(args))


def _examine(args: argparse.Namespace) -> int:
    from mmattn.doctor import examine
    from mmattn.quiet import quiet

    with quiet("mmengine", "mmattn", hide_warnings=True):
        sections = examine(check=args.check)
    broken = [one.name for section in sections for one in section.findings if one.broken]
    if args.json:
        found = {section.title: [asdict(one) for one in section.findings] for section in sections}
        print(json.dumps({"broken": broken, "sections": found}, indent=1))
    else:
        print("\n\n".join(map(_text, sections)))
        print(f"\nbroken: {', '.join(broken)}" if broken else "\nnothing that is needed is broken")
    return 1 if broken else 0


def _text(section: Section) -> str:
    """Return one subject: name, value and, where it fits beside them or else below, the note."""
    if not section.findings:
        return f"{section.title}: none"
    width = max(len(one.name) for one in section.findings)
    lines = [section.title]
    for one in section.findings:
        mark = "!" if one.broken else " "
        note = f"  ({one.note})" if one.note else ""
        lines += _wrapped(f"{mark} {one.name:<{width}}  ", f"{one.value}{note}")
    return "\n".join(lines)


def _wrapped(head: str, text: str) -> Sequence[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]
