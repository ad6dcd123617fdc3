"""``mmattn replay``: repeat a training step whose numbers were not finite."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s work_dirs/NAME/bad_steps/iter_37.pth
%(prog)s iter_37.pth --config work_dirs/NAME/NAME.py --device cuda
"""
NOTES = """\
The file holds weights, batch and random numbers of the step, as plain data. The exit code is 0 if
the repetition finds the same losses and the same place, and 1 if it finds others.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn replay") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Repeat a training step whose numbers were not finite, and say where they stop being so.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument("step", metavar="FILE", help="file that the training named: bad_steps/*")
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="config of the training (default: the one in the folder above FILE's)",
    )
    parser.add_argument(
        "--device", default="cpu", metavar="DEVICE", help="cpu, cuda, cuda:1 … (default: cpu)"
    )
    arguments.add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn replay") -> int:
    """Repeat a step; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _replay(args))


def _replay(args: argparse.Namespace) -> int:
    import mmattn.config
    from mmattn.engine.numerics.replay import replay

    done = replay(
        args.step,
        args.config,
        cfg_options=mmattn.config.parse_cfg_options(args.cfg_options),
        device=args.device,
    )
    print(f"step {done.step}, as the training (rank {done.rank}) found it:")
    print(f"  {done.recorded.describe()}")
    print("repeated: the same" if done.same else f"repeated:\n  {done.repeated.describe()}")
    return 0 if done.same else 1
