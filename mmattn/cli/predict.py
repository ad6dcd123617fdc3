"""``mmattn predict``: segment images with a trained model."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s work_dirs/NAME/NAME.py work_dirs/NAME/best_mIoU_iter_*.pth images --out found
"""
NOTES = """\
For each image the folder gets STEM.png, a label map (8 bits, 16 for more than 256 classes), and
STEM_overlay.jpg; classes.json lists the classes by index. A training leaves its config and its
checkpoints in work_dirs/NAME, where NAME is the config's.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn predict") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Segment images with a trained model: label maps, and overlays of the classes.",
        EXAMPLES,
        NOTES,
    )
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images or folders of images")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    arguments.add_opacity(parser, 0.5)
    arguments.add_no_fuse(parser, "run")
    arguments.add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn predict") -> int:
    """Predict; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _predict(args))


def _predict(args: argparse.Namespace) -> None:
    from mmattn.config import load_config, parse_cfg_options
    from mmattn.inference import predict_images

    cfg = load_config(args.config, parse_cfg_options(args.cfg_options))
    written = predict_images(
        cfg,
        args.checkpoint,
        args.images,
        args.out,
        device=args.device,
        opacity=args.opacity,
        fuse=not args.no_fuse,
        allow_partial=args.allow_partial,
        log=print,
    )
    print(f"{len(written)} label map{'' if len(written) == 1 else 's'} in {args.out}")
