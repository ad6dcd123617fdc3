"""``mmattn compare_runs``: put finished trainings side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s work_dirs/bevanet-s_seed304 work_dirs/pidnet-s_seed304 \\
    --metric mIoU --out work_dirs/bevanet_against_pidnet
"""
NOTES = """\
Runs of one config are grouped, whatever their seed. Settings that the runs do not share, besides
the model, are listed, so that different schedules are not compared unawares.

To train variants of one network with other blocks under equal conditions, use the command compare.
"""


def parse_args(
    argv: list[str] | None = None, prog: str = "mmattn compare_runs"
) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Put finished (or running) trainings side by side: curves of a metric, a table, all "
        "values.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument("runs", nargs="+", metavar="DIR", help="work dirs of trainings")
    parser.add_argument(
        "--metric",
        help="name of the metric in the validation log (default: the usual one of the task, such "
        "as mIoU or bbox_mAP, else the first)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of report.md, curves.png and runs.csv (default: nothing is written)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn compare_runs") -> int:
    """Read, print, write; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _compare_runs(args, arguments.command_line(prog, argv)))


def _compare_runs(args: argparse.Namespace, command: str) -> None:
    from mmattn.compare import compare_runs

    compare_runs(args.runs, metric=args.metric, out=args.out, command=command)
