"""``mmattn data shapes``: write the generated shapes dataset."""

from __future__ import annotations

import argparse

EXAMPLES = """\
%(prog)s shapes data/shapes --num-train 400 --num-val 100
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
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
        "--video",
        type=int,
        default=0,
        metavar="FRAMES",
        help="write DIR/video.mp4 too, whose camera pans over one more scene (default: none)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a shapes dataset with other parameters (nothing else is ever replaced)",
    )


def main(args: argparse.Namespace) -> None:
    """Write the dataset unless it is already there."""
    from mmattn.data.shapes import write_shapes_dataset, write_shapes_video

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
    if args.video:
        look = {"size": tuple(args.size), "seed": args.seed, "colour_hint": args.colour_hint}
        video = write_shapes_video(root / "video.mp4", frames=args.video, **look)
        print(f"{video}: {args.video} frames")
