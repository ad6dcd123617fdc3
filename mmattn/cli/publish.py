"""``mmattn publish``: strip a checkpoint to what others need."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s work_dirs/ccnet/best_mIoU_iter_4000.pth ccnet_camvid.safetensors
%(prog)s work_dirs/yolox/epoch_300.pth yolox_tiny.pth
"""
NOTES = """\
Kept are the weights (the averaged ones of EMAHook, where there are any), the class names, and the
epoch. The optimiser's state, the log and the config are left out. The name of the file ends with
the first digits of its SHA-256.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn publish") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Strip a checkpoint to its weights, class names and origin, with a digest in its name.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument("source", metavar="CKPT", help="checkpoint of a training")
    parser.add_argument(
        "out", metavar="OUT", help="file to write: .safetensors or .pth; -DIGEST is put before it"
    )
    args = parser.parse_args(argv)
    if not args.out.endswith((".safetensors", ".pth")):
        parser.error(f"OUT must end in .safetensors or .pth, got {args.out}")
    return args


def main(argv: list[str] | None = None, prog: str = "mmattn publish") -> int:
    """Publish; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _publish(args))


def _publish(args: argparse.Namespace) -> None:
    from mmattn.io.publish import publish

    done = publish(args.source, args.out)
    kept = "the averaged weights (EMA)" if done.averaged else "the weights"
    names = f", the names of {len(done.classes)} classes" if done.classes else ", no class names"
    before, after = (f"{size / 1e6:.3g} MB" for size in done.sizes)
    print(f"Wrote {done.path}: {kept}{names}; {after} of {before}.")
    if done.left_out:
        print(f"Left out: {', '.join(done.left_out)}.")
    if not done.classes:
        print("Whoever uses it has to know the classes: the checkpoint does not name them.")
