"""``mmattn explain``: show what a prediction rests on, and check whether the map says so."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run
from ._run_folder import split_model, use_run

EXAMPLES = """\
%(prog)s work_dirs/NAME photo.jpg --out explained
%(prog)s CONFIG CHECKPOINT photos --method attention hires-cam --target class=car --out explained
%(prog)s CONFIG CHECKPOINT photo.jpg --method attention --target pixel=120,80 \\
    --at decode_head.cca --out explained
%(prog)s CONFIG CHECKPOINT photos --method layer-cam norm-grad --faithfulness --out explained
%(prog)s CONFIG CHECKPOINT photos --method heads receptive-field --out explained
%(prog)s DETECTOR DETECTOR.pth photo.jpg --target detection=0 side=left --out explained
%(prog)s HOST HOST.pth photos --pair WITH_BLOCK WITH_BLOCK.pth --out explained
"""
NOTES = """\
Methods:
  attention   weights with which a place, or a query, reads positions
  gates       factors with which blocks scale channels and positions
  heads       what each head of the attention gives: a first-order estimate, and leaving it out
  rollout     attention of all layers multiplied, from a region down to the image
  relevance   gradient times attention, through encoder and decoder
  receptive-field  pixels that move the middle of a feature map
  hires-cam, layer-cam, grad-cam, grad-cam++, eigen-cam, norm-grad, norm-grad-3x3,
  norm-grad-depthwise, norm-grad-scaling, norm-grad-bias, norm-grad-selective
              activations and gradients of one layer
Targets, of which a class may be given with a region or a pixel:
  class=NAME  region=x0,y0,x1,y1  pixel=X,Y  detection=N  query=N
  side=left, top, right, bottom, x, y, width, height of a detection, or - and one of them
  By default the largest class but for a background, the best detection or the best mask; without
  names of classes the first one counts as background.

For each image the folder gets STEM_explained.png, and STEM_explained.npz with the raw maps;
summary.json has all numbers, report.html all figures in one file. A map that was not checked with
--faithfulness is marked raw.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn explain") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Show what a prediction rests on: attention, gates and gradient maps.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument(
        "model",
        nargs="+",
        metavar="MODEL",
        help="the folder of a run, whose best checkpoint is taken, else the last; or CONFIG "
        "CHECKPOINT; then images, folders, or patterns in quotes",
    )
    arguments.add_allow_partial(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--method",
        nargs="+",
        default=[],
        metavar="METHOD",
        help="methods, of the list below (default: hires-cam, and attention and gates of the last "
        "layer that has some)",
    )
    parser.add_argument(
        "--at",
        default="auto",
        metavar="MODULE",
        help="module that is looked at, or a pattern with *; MODULE[i] is the i-th map that it "
        "returns, over all its calls (default: auto, the last feature map or the last layer with "
        "attention)",
    )
    parser.add_argument(
        "--target",
        nargs="+",
        default=[],
        metavar="KIND=VALUE",
        help="what is explained, of the list below, in pixels of the image",
    )
    parser.add_argument(
        "--pair",
        nargs=2,
        metavar=("CONFIG", "CHECKPOINT"),
        help="a second network, drawn below the first one: the same target in the same images",
    )
    checks = parser.add_argument_group("checks")
    checks.add_argument(
        "--faithfulness",
        action="store_true",
        help="measure deletion and insertion against random maps, a centre prior and edges",
    )
    checks.add_argument(
        "--steps", type=int, default=100, metavar="N", help="steps of each curve (default: 100)"
    )
    checks.add_argument(
        "--baseline",
        default="mean",
        metavar="WHAT",
        help="what deletion leaves: mean, colour, blur or noise (default: mean)",
    )
    checks.add_argument(
        "--context", action="store_true", help="leave the target's own pixels alone"
    )
    checks.add_argument(
        "--sanity",
        action="store_true",
        help="draw layers anew from the output on and compare the maps",
    )
    checks.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="repetitions of --sanity (default: 5)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    arguments.add_cfg_options(parser)
    args = parser.parse_args(argv)
    args.config, args.checkpoint, args.images = split_model(args.model)
    if not args.images:
        parser.error("give RUN IMAGE ... or CONFIG CHECKPOINT IMAGE ...")
    if args.seeds < 1:
        parser.error(f"--seeds {args.seeds}: give a number from 1 on")
    for name, of in (
        *((name, "faithfulness") for name in ("context", "steps", "baseline")),
        ("seeds", "sanity"),
    ):
        if getattr(args, name) != parser.get_default(name) and not getattr(args, of):
            parser.error(f"--{name} is for --{of}")
    return args


def main(argv: list[str] | None = None, prog: str = "mmattn explain") -> int:
    """Explain; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _explain(args, arguments.command_line(prog, argv)))


def _explain(args: argparse.Namespace, command: str) -> None:
    from mmattn.config import load_config, parse_cfg_options
    from mmattn.engine.console import brief_console
    from mmattn.explain import FaithfulnessOptions, Network, Options, explain_images
    from mmattn.inference.images import find_images
    from mmattn.weights.local import local_checkpoint

    options = Options(
        methods=args.method,
        at=args.at,
        target=args.target,
        faithfulness=FaithfulnessOptions(
            steps=args.steps, baseline=args.baseline, context=args.context
        )
        if args.faithfulness
        else None,
        sanity_seeds=args.seeds if args.sanity else 0,
    )
    find_images(args.images)  # what is missing is named before the model is built
    use_run(args)
    args.checkpoint = local_checkpoint(args.checkpoint, print)
    pairs = [(args.config, args.checkpoint), *([args.pair] if args.pair else [])]
    with brief_console():
        networks = [
            Network(
                load_config(config, parse_cfg_options(args.cfg_options)),
                checkpoint,
                args.device,
                allow_partial=args.allow_partial,
            )
            for config, checkpoint in pairs
        ]
        explain_images(networks, args.images, args.out, options, command=command)
