"""``mmattn weights list``: a table of the index."""

from __future__ import annotations

import argparse
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from mmattn.weights.entries import Entry

EXAMPLES = """\
%(prog)s list
%(prog)s list '*cityscapes*' --system CCNet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="part of the names, or a pattern with * and ? in quotes",
    )
    parser.add_argument("--system", metavar="NAME", help="only weights of this network or block")


def main(args: argparse.Namespace) -> None:
    """Print the table."""
    from mmattn.tables import text_table
    from mmattn.weights import load_index

    entries = list(load_index().entries.values())
    systems = sorted({entry.system for entry in entries})
    if args.system:
        if args.system.lower() not in map(str.lower, systems):
            hint = did_you_mean(args.system, systems) or f" There are {', '.join(systems)}."
            raise ConfigError(f"--system {args.system}: there are no weights of it.{hint}")
        entries = [one for one in entries if one.system.lower() == args.system.lower()]
    if args.pattern:
        entries = [one for one in entries if _fits(one.name, args.pattern)]
    head = ["name", "system", "task", "dataset", "quality", "licence", "here"]
    print(text_table(head, [_row(one) for one in entries]))
    print(f"{len(entries)} of {len(load_index().entries)}; a licence with * has to be accepted")


def _fits(name: str, pattern: str) -> bool:
    any_ = "*" in pattern or "?" in pattern
    return fnmatch(name.lower(), pattern.lower()) if any_ else pattern.lower() in name.lower()


def _row(entry: Entry) -> list[str]:
    from mmattn.weights.cache import source_path

    metric = entry.metric
    value = None if metric is None else metric.upstream or metric.paper
    quality = "" if value is None or metric is None else f"{metric.name} {value:g}"
    licence = entry.licence.name[:24] + (" *" if entry.licence.asks else "")
    here = "yes" if source_path(entry).is_file() else ""
    return [entry.name, entry.system, entry.task, entry.dataset, quality, licence, here]
