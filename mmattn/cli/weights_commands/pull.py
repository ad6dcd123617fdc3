"""``mmattn weights pull``: fetch weights into the cache."""

from __future__ import annotations

import argparse

EXAMPLES = """\
%(prog)s pull torchvision_resnet50_in1k
%(prog)s pull hf_mask2former_swin-l_coco-panoptic --accept-licence
"""
NOTES = """\
A name is a checkpoint wherever one is asked for: mmattn test CONFIG NAME,
load_from="weights://NAME", init_cfg=dict(type="Pretrained", checkpoint="weights://NAME").

MMATTN_CACHE            folder of the cache (default: ~/.cache/mmattn)
MMATTN_WEIGHTS_MIRROR   folder, tar file or address that is asked first; bundle writes one
MMATTN_WEIGHTS_INDEX    file with further entries, in the form of mmattn's own
MMATTN_OFFLINE=1        never touch the network
HF_ENDPOINT, HF_TOKEN, http_proxy, https_proxy, no_proxy hold as usual
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="names of weights")
    add_accept_licence(parser)


def add_accept_licence(parser: argparse.ArgumentParser) -> None:
    """Add ``--accept-licence``."""
    parser.add_argument(
        "--accept-licence",
        action="store_true",
        help="accept licences that are non-commercial, gated, unclear or no permissive ones; "
        "without it you are asked, once for each, in a terminal alone",
    )


def main(args: argparse.Namespace) -> None:
    """Fetch, and print the files to load."""
    from mmattn.weights import find_entry, pull_weights
    from mmattn.weights.licences import ask_in_terminal

    for name in args.names:  # a slip in the last one costs no download
        find_entry(name)
    ask = ask_in_terminal()
    for name in args.names:
        print(pull_weights(name, accept=args.accept_licence, ask=ask, say=print))
