"""``mmattn explain``: show what a prediction rests on: attention, gates and gradient maps."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s CONFIG CHECKPOINT photo.jpg --out explained
%(prog)s CONFIG CHECKPOINT photos --method attention hires-cam --target class=car --out explained
%(prog)s CONFIG CHECKPOINT photo.jpg --method attention --target pixel=120,80 --at decode_head.cca \\
    --out explained
"""
NOTES = """\
For each image the folder gets STEM_explained.png and STEM_explained.npz, the raw maps.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn explain") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Show what a prediction rests on: attention, gates and gradient maps.",
        EXAMPLES,
        NOTES,
    )
    arguments.add_config(parser)
    arguments.add_checkpoint(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images, folders, patterns")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--method", nargs="+", default=["hires-cam"], metavar="METHOD", help="methods"
    )
    parser.add_argument("--at", default="auto", metavar="MODULE", help="module")
    parser.add_argument("--target", nargs="+", default=[], metavar="WORD", help="target")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    arguments.add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn explain") -> int:
    """Explain; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _explain(args))


def _explain(args: argparse.Namespace) -> None:
    from mmattn.config import load_config, parse_cfg_options
    from mmattn.explain import Network, Options, explain_images

    options = Options(methods=args.method, at=args.at, target=args.target)
    network = Network(
        load_config(args.config, parse_cfg_options(args.cfg_options)),
        args.checkpoint,
        args.device,
        allow_partial=args.allow_partial,
    )
    explain_images(network, args.images, args.out, options)
