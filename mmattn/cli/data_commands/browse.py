"""``mmattn data browse``: see what a training sees, augmented samples with boxes and masks."""

from __future__ import annotations

import argparse

from .. import _arguments as arguments

EXAMPLES = """\
%(prog)s browse ccnet --out seen data=my_images
%(prog)s browse mmdet::yolox/yolox_tiny_8xb8-300e_coco.py --out seen --num 24 data=my_boxes
%(prog)s browse my_config.py --out seen --split val
"""
NOTES = """\
Each sample is what the pipeline makes of an image, in the network's pixels before normalisation;
the same sample is drawn anew for each of --times. contact_sheet.jpg shows all of them, with a
legend.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    arguments.add_config(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the images")
    parser.add_argument(
        "--num", type=int, default=12, metavar="N", help="samples to draw (default: 12)"
    )
    parser.add_argument(
        "--times",
        type=int,
        default=1,
        metavar="N",
        help="augment each of them N times (default: 1)",
    )
    parser.add_argument(
        "--split",
        choices=("train", "val", "test"),
        default="train",
        help="whose data and pipeline (default: train)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the augmentation (default: 0)")
    arguments.add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    """Draw the samples."""
    from mmattn.config import load_config, parse_cfg_options
    from mmattn.errors import ConfigError
    from mmattn.inference.browse import browse

    if min(args.num, args.times) < 1:
        raise ConfigError(f"--num {args.num}, --times {args.times}: both must be at least 1.")
    cfg = load_config(args.config, parse_cfg_options(args.cfg_options))
    written = browse(
        cfg, args.out, split=args.split, num=args.num, times=args.times, seed=args.seed
    )
    print(f"{len(written)} samples of {args.split} in {args.out}, together in contact_sheet.jpg")
