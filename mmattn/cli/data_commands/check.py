"""``mmattn data check``: check the folder of a public dataset again."""

from __future__ import annotations

import argparse

EXAMPLES = """\
%(prog)s check data/coco
%(prog)s check data/ade/ADEChallengeData2016 --name ade20k --full-check
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("root", metavar="DIR", help="folder of the dataset")
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="which dataset it should be, for a folder that mmattn data prepare did not make",
    )
    parser.add_argument(
        "--full-check",
        action="store_true",
        help="look at the size of every image and the values of every mask; without it, at 64 and "
        "32 of each split",
    )


def main(args: argparse.Namespace) -> None:
    """Check the folder."""
    from mmattn.prepare import check_prepared

    check_prepared(args.root, args.name, full=args.full_check)
    print(f"{args.root}: complete.")
