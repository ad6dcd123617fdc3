"""``mmattn upstream``: run a script of mmdet's or mmseg's tools."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s --list
%(prog)s mmdet::analysis_tools/browse_dataset work_dirs/mine/NAME.py --output-dir drawn --not-show
%(prog)s mmdet::analysis_tools/confusion_matrix work_dirs/mine/NAME.py results.pkl drawn
%(prog)s mmseg::analysis_tools/analyze_logs work_dirs/mine/*/vis_data/scalars.json --keys loss
"""
NOTES = """\
All words after the script are its own. The scripts come with the installed packages, which install
no command for them, and need neither mmcv's compiled extension nor seaborn here. What most of them
do has a command of mmattn's: report, benchmark, data browse, config, publish.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn upstream") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog, "Run a script of mmdet's or mmseg's tools on configs of mmattn.", EXAMPLES, NOTES
    )
    parser.add_argument("--list", action="store_true", help="list the scripts and stop")
    parser.add_argument(
        "script", nargs="?", metavar="SCRIPT", help="package::path as in the list, or a file"
    )
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="...", help="arguments of the script"
    )
    args = parser.parse_args(argv)
    if not args.list and args.script is None:
        parser.error("SCRIPT is needed (or --list)")
    if args.list and args.script is not None:
        parser.error(f"--list runs no script: leave it or {args.script} out")
    return args


def main(argv: list[str] | None = None, prog: str = "mmattn upstream") -> int:
    """Run the script; returns the exit code, the script's own where it has one."""
    args = parse_args(argv, prog)
    return run(lambda: _list() if args.list else _run(args.script, args.words))


def _list() -> None:
    from mmattn.bridge.upstream_scripts import list_scripts

    print("\n".join(list_scripts()))


def _run(script: str, words: list[str]) -> None:
    from mmattn.bridge.upstream_scripts import find_script, run_script

    run_script(find_script(script), words)
