"""``mmattn predict``: segment images with a trained model."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s work_dirs/run/config.py work_dirs/run/best.pth new_images --out predictions
"""
NOTES = """\
For each image the folder gets NAME.png, an 8-bit index mask, and NAME_overlay.jpg; classes.json
lists the classes by index.
"""


def parse_args(
    argv: list[str] | None = None, prog: str = "python tools/predict.py"
) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Segment images with a trained model: class maps, and overlays of the classes.",
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


def main(argv: list[str] | None = None, prog: str = "python tools/predict.py") -> int:
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
    print(f"{len(written)} class maps in {args.out}")
