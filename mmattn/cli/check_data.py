"""``mmattn check_data``: check a config, its data and its model without training."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py --full
"""
NOTES = """\
Checked are keys, types and arguments of the config, files, images, masks and annotations of the
data, the numbers of classes, and that the model can be built. Left out is what only a run shows:
pretrained weights are not downloaded, the pipelines transform no image, no batch goes through the
model, so that its memory and its loss are not known, and the schedule and the optimiser are not
built.
"""


def parse_args(
    argv: list[str] | None = None, prog: str = "mmattn check_data"
) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Check a config, its data and its model without training, as a training does before its "
        "first step.",
        EXAMPLES,
        NOTES,
    )
    arguments.add_config(parser)
    parser.add_argument(
        "--splits",
        nargs="+",
        default=["train", "val"],
        choices=["train", "val", "test"],
        help="splits to check (default: train val)",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="read every image and mask; without it, the check looks for all files but reads the "
        "headers of 2000 images and the values of 200 masks",
    )
    arguments.add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn check_data") -> int:
    """Print a table for each dataset and build the model; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _check(args))


def _check(args: argparse.Namespace) -> None:
    from mmattn.config import parse_cfg_options
    from mmattn.engine import check

    check(
        args.config,
        splits=args.splits,
        full=args.full,
        cfg_options=parse_cfg_options(args.cfg_options),
        log=print,
    )
