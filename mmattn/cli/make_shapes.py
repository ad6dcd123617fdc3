"""``mmattn make_shapes``: write the generated shapes dataset."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s data/shapes --num-train 400 --num-val 100
"""


def parse_args(
    argv: list[str] | None = None, prog: str = "mmattn make_shapes"
) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Write the generated shapes dataset: images, label maps, COCO and COCO panoptic "
        "annotations.",
        EXAMPLES,
    )
    parser.add_argument(
        "root",
        nargs="?",
        default="data/shapes",
        metavar="DIR",
        help="folder of the dataset (default: %(default)s)",
    )
    parser.add_argument(
        "--num-train", type=int, default=400, metavar="N", help="training images (default: 400)"
    )
    parser.add_argument(
        "--num-val", type=int, default=100, metavar="N", help="validation images (default: 100)"
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(192, 256),
        metavar=("H", "W"),
        help="height and width of the images (default: 192 256)",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of the data (default: 0)")
    parser.add_argument(
        "--crowd-probability",
        type=float,
        default=0.0,
        help="share of the images with a crowd region, iscrowd=1 (default: 0)",
    )
    parser.add_argument(
        "--colour-hint",
        type=float,
        default=0.8,
        help="share of the shapes painted near the hue of their class; with 0 only the outline "
        "tells classes apart, which takes longer to learn (default: 0.8)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a shapes dataset with other parameters (nothing else is ever replaced)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn make_shapes") -> int:
    """Write the dataset unless it is already there; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _make_shapes(args))


def _make_shapes(args: argparse.Namespace) -> None:
    from mmattn.data.shapes import write_shapes_dataset

    root = write_shapes_dataset(
        args.root,
        num_train=args.num_train,
        num_val=args.num_val,
        size=tuple(args.size),
        seed=args.seed,
        crowd_probability=args.crowd_probability,
        colour_hint=args.colour_hint,
        overwrite=args.overwrite,
    )
    print(f"{root}: {args.num_train} train and {args.num_val} val images, seed {args.seed}")
