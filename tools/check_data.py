#!/usr/bin/env python
"""Check a config, its data and its model without training, as a training does before step 1.

Example:
    python tools/check_data.py mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py --full
"""

from __future__ import annotations

import argparse
import logging
import sys


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="path, or a name such as mmdet::, mmseg:: or mmattn::...")
    parser.add_argument(
        "--splits",
        nargs="+",
        default=["train", "val"],
        choices=["train", "val", "test"],
        help="which data to check (default: train val)",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="read every image and mask; without it all files' existence, the headers of 2000 "
        "images and the values of 200 masks",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="override settings, as in tools/train.py",
    )
    return parser.parse_args()


def main() -> int:
    """Run the checks, print a table for each dataset, and build the model if there is one."""
    args = parse_args()
    from mmattn.config import load_config, parse_cfg_options
    from mmattn.errors import MMAttnError
    from mmattn.inference import build_model
    from mmattn.preflight import preflight

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        cfg = load_config(args.config, parse_cfg_options(args.cfg_options))
        for report in preflight(cfg, splits=args.splits, full=args.full):
            print(report.table())
        if cfg.get("model"):
            build_model(cfg)
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
