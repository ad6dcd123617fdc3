#!/usr/bin/env python
"""Write the embedded shapes dataset: images, index masks, COCO and COCO panoptic annotations.

Example:
    python tools/make_shapes.py data/shapes --num-train 400 --num-val 100
"""

from __future__ import annotations

import argparse
import sys


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "root", nargs="?", default="data/shapes", help="folder (default: %(default)s)"
    )
    parser.add_argument("--num-train", type=int, default=400, help="train images (default: 400)")
    parser.add_argument("--num-val", type=int, default=100, help="val images (default: 100)")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=(192, 256),
        metavar=("H", "W"),
        help="height and width of the images (default: 192 256)",
    )
    parser.add_argument("--seed", type=int, default=0, help="picks the dataset (default: 0)")
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
        help="share of the shapes painted near their class's own hue; 0 leaves form alone to tell "
        "classes apart, which takes longer to learn (default: 0.8)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a shapes dataset with other parameters (nothing else is ever replaced)",
    )
    return parser.parse_args()


def main() -> int:
    """Generate, or find the set already there."""
    args = parse_args()
    from mmattn.data.shapes import write_shapes_dataset
    from mmattn.errors import MMAttnError

    try:
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
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{root}: {args.num_train} train and {args.num_val} val images, seed {args.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
