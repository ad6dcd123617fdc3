"""``mmattn models``: list the models that mmattn knows by name."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError, did_you_mean

from . import _arguments as arguments
from ._run import run

if TYPE_CHECKING:
    from mmattn.config.model_index import ModelEntry

EXAMPLES = """\
%(prog)s
%(prog)s yolov12-n
%(prog)s 'ccnet*' --task semantic
%(prog)s --data folder
%(prog)s --wide
"""
NOTES = """\
The name, or the short name where there is one, stands for the config in every command: mmattn train
yolov12-n data=my_boxes. So does the name of any config of mmdet and mmseg, which are not listed.
In the table are the numbers that were measured here; the page of one model has those of its paper
too, with table and row. The table fits the terminal; in a pipe, or with --wide, every column is
whole. docs/models.md has all of it.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn models") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog, "List the models that mmattn brings along, or show one of them.", EXAMPLES, NOTES
    )
    parser.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="a name, a part of one, or a pattern with * in quotes (default: all models)",
    )
    parser.add_argument(
        "--task", metavar="TASK", help="a task or a part of its name: detection, instance, panoptic"
    )
    parser.add_argument(
        "--data", metavar="DATA", help="a dataset or a part of its name: coco, camvid, folder"
    )
    parser.add_argument(
        "--wide", action="store_true", help="show all columns whole, wider than the terminal"
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn models") -> int:
    """Print the table, or one model; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _models(args))


def _models(args: argparse.Namespace) -> None:
    from mmattn.config import model_index

    entries = model_index()
    if args.task:
        entries = _chosen(entries, "task", args.task)
    if args.data:
        entries = _chosen(entries, "data", args.data)
    one = next((e for e in entries if args.pattern and args.pattern in (e.name, e.alias)), None)
    found = [one] if one else _matching(entries, args.pattern)
    if args.json:
        print(json.dumps([_as_json(entry) for entry in found], indent=1))
    elif len(found) == 1:
        print(_page(found[0]))
    else:
        print(_table(found, None if args.wide else _columns()))


def _columns() -> int | None:
    """Return the width of the terminal; None where the output goes to a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _chosen(entries: Sequence[ModelEntry], key: str, wanted: str) -> Sequence[ModelEntry]:
    found = [entry for entry in entries if wanted.lower() in getattr(entry, key).lower()]
    if not found:
        known = sorted({getattr(entry, key) for entry in entries})
        raise ConfigError(f"--{key} {wanted}: no model has it; there are {', '.join(known)}.")
    return found


def _matching(entries: Sequence[ModelEntry], pattern: str | None) -> Sequence[ModelEntry]:
    """Return the models with ``pattern`` in their name, short name, system or network."""
    if not pattern:
        return entries
    wanted = pattern.lower()
    wanted = wanted if "*" in wanted else f"*{wanted}*"
    found = [
        entry
        for entry in entries
        if any(
            fnmatch(text.lower(), wanted)
            for text in (entry.name, entry.alias, entry.collection, *entry.architecture)
        )
    ]
    if not found:
        known = [name for entry in entries for name in (entry.alias, entry.name) if name]
        raise ConfigError(
            f"No model is called {pattern}.{did_you_mean(pattern, known)} mmattn models lists all."
        )
    return found


def _table(entries: Sequence[ModelEntry], columns: int | None) -> str:
    """Return the table; the short names, which a newcomer types, come first.

    Args:
        entries: Models to show.
        columns: Width to fit; None for the whole table.
    """
    from ._model_table import narrow_table, wide_table

    ordered = sorted(entries, key=lambda entry: not entry.alias)  # stable
    table = wide_table(ordered) if columns is None else narrow_table(ordered, columns)
    count = f"{len(entries)} models; mmattn models NAME shows one, its paper and its commands."
    return f"{table}\n\n{count}"


def _page(entry: ModelEntry) -> str:
    """Return what is known of one model, and the commands for it."""
    rows = [
        ("name", entry.name),
        ("short", entry.alias),
        ("system", entry.collection),
        ("network", ", ".join(entry.architecture)),
        ("task", entry.task),
        ("data", entry.data),
        ("parameters", "" if entry.parameters is None else f"{entry.parameters:,}"),
        *_measured(entry),
        *_published(entry),
        *(("weights", f"mmattn weights pull {name}") for name in _weights(entry)),
        ("paper", " ".join(part for part in entry.paper if part)),
        ("page", entry.page),
        ("config", str(entry.config)),
    ]
    lines = [f"{key:<12}{value}" for key, value in rows if value]
    return "\n".join([*lines, "", *_commands(entry)])


def _measured(entry: ModelEntry) -> Iterator[tuple[str, str]]:
    """Yield what was measured here: numbers, then command, commit, machine and page."""
    if not entry.results:
        yield "measured", "nothing here"
    for result in entry.results:
        yield "measured", str(result)
        yield "  command", result.command
        yield "  commit", f"{result.commit}, {result.machine}"
        yield "  page", result.page


def _published(entry: ModelEntry) -> Iterator[tuple[str, str]]:
    """Yield what the authors publish: numbers, then where it says so, and that it is not ours."""
    for result in entry.published:
        yield "published", str(result)
        yield "  by", result.place
        yield "  here", result.reproduced


def _weights(entry: ModelEntry) -> list[str]:
    """Return the names of weights that fit the config."""
    from mmattn.weights.index import load_index, weights_of_config

    inside = "/".join(entry.config.parts[-2:])
    own = [one.name for one in weights_of_config(load_index(), f"mmattn::{inside}")]
    return list(dict.fromkeys([*own, *entry.weights]))


def _commands(entry: ModelEntry) -> list[str]:
    name = entry.alias or entry.name
    run_folder = f"work_dirs/{entry.name}"
    own = " data=DIR" if "folder" in entry.data else ""
    return [
        f"mmattn check {name}{own}",
        f"mmattn train {name}{own}",
        f"mmattn test {run_folder}",
        f"mmattn predict {run_folder} IMAGES --out DIR",
        f"mmattn export {run_folder} --out model.onnx --dynamic",
    ]


def _as_json(entry: ModelEntry) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(entry), "config": str(entry.config)}
