"""``mmattn weights bundle``: write weights as a mirror for machines without network."""

from __future__ import annotations

import argparse

from .pull import add_accept_licence

EXAMPLES = """\
%(prog)s bundle torchvision_resnet50_in1k --out weights.tar
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="names of weights")
    parser.add_argument(
        "--out", required=True, metavar="OUT", help="folder, or file that ends in .tar, to write"
    )
    add_accept_licence(parser)


def main(args: argparse.Namespace) -> None:
    """Fetch what is not here, and write the mirror."""
    from mmattn.weights import find_entry, pull_weights, write_bundle
    from mmattn.weights.licences import ask_in_terminal

    for name in args.names:
        find_entry(name)
    ask = ask_in_terminal()
    weights = [
        pull_weights(name, accept=args.accept_licence, ask=ask, say=print)
        for name in dict.fromkeys(args.names)
    ]
    out = write_bundle(weights, args.out, print)
    print(f"Wrote {out}. There: export MMATTN_WEIGHTS_MIRROR={out}")
