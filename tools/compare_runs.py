#!/usr/bin/env python
"""Put finished (or running) trainings side by side: curves of a metric, a table, all values.

Runs of one config are grouped, whatever their seed. Settings that the runs do not share, besides
the model, are listed, so that different schedules are not compared unawares.

Example:
    python tools/compare_runs.py work_dirs/bevanet-s_seed304 work_dirs/pidnet-s_seed304 \\
        --metric mIoU --out work_dirs/bevanet_against_pidnet

To train variants of one network with other blocks under equal conditions: tools/compare.py.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", help="work dirs of tools/train.py")
    parser.add_argument(
        "--metric",
        help="name of the metric, as validation logs it (default: the usual one of the task, such "
        "as mIoU or bbox_mAP, else the first)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for report.md, curves.png and runs.csv (default: none are written)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Read, print, write."""
    args = parse_args(argv)
    from mmattn.compare import compare_runs
    from mmattn.errors import MMAttnError

    command = shlex.join(["tools/compare_runs.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        compare_runs(args.runs, metric=args.metric, out=args.out, command=f"python {command}")
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
