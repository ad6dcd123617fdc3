"""``mmattn config diff``: compare two configs key by key."""

from __future__ import annotations

import argparse
import os
import sys

EXAMPLES = """\
%(prog)s diff my_config.py mmdet::retinanet/retinanet_r50_fpn_1x_coco.py
%(prog)s diff work_dirs/first/first.py work_dirs/second/second.py --exit-code
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    what = "a config file, or package::path"
    parser.add_argument("first", metavar="A", help=what)
    parser.add_argument("second", metavar="B", help=what)
    parser.add_argument("--key", metavar="KEY", help="compare this part alone, such as model")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 if they differ")


def main(args: argparse.Namespace) -> int:
    """Print what differs."""
    from mmattn.config import load_config
    from mmattn.config_tools.diff import diff_text, differences, without_own_scope

    from .show import part_of

    first, second = (
        without_own_scope(load_config(name).to_dict()) for name in (args.first, args.second)
    )
    if args.key:
        first = part_of(first, args.key, args.first)
        second = part_of(second, args.key, args.second)
    found = list(differences(first, second))
    if found:
        colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(diff_text(found, colours=colours))
    return 1 if found and args.exit_code else 0
