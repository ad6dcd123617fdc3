"""``mmattn config explain``: say which file and line set a key."""

from __future__ import annotations

import argparse

from .. import _arguments as arguments

EXAMPLES = """\
%(prog)s explain my_config.py
%(prog)s explain mmdet::retinanet/retinanet_r101_fpn_2x_coco.py param_scheduler.1.milestones
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    arguments.add_config(parser)
    parser.add_argument(
        "key",
        nargs="?",
        metavar="KEY",
        help="a key such as model.neck.out_channels or train_pipeline.2.scale (default: a table of "
        "all keys that are not as the files at the root of the inheritance set them)",
    )
    arguments.add_cfg_options(parser)


def main(args: argparse.Namespace) -> None:
    """Print where the key comes from."""
    from mmattn.config import parse_cfg_options
    from mmattn.config_tools.explain import explain, overridden_table, stale_uses
    from mmattn.config_tools.trace import trace_config

    trace = trace_config(args.config, parse_cfg_options(args.cfg_options))
    if args.key:
        print(explain(trace, args.key))
        return
    print(overridden_table(trace))
    for use in stale_uses(trace):
        print(f"\nnote: {use}")
