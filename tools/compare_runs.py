#!/usr/bin/env python
"""Put finished (or running) trainings side by side: curves of a metric, a table, all values.

Runs of one config are taken together, whatever their seed. What runs of several do not share beside
the model is listed, so that nobody compares different schedules unawares.

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
        "--metric", help="as validation logs it (default: mIoU or bbox_mAP, else the first)"
    )
    parser.add_argument(
        "--out", type=Path, help="where report.md, curves.png and runs.csv go (default: nowhere)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Read, print, write."""
    args = parse_args(argv)
    from mmattn.compare import runs as comparison
    from mmattn.errors import MMAttnError

    try:
        runs = [comparison.read_run(folder) for folder in args.runs]
        metric = comparison.choose_metric(runs, args.metric)
        table = comparison.markdown_table(runs, metric)
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    differing = comparison.differences(runs, but=("model",))
    remark = (
        "All settings but the model and the seed are equal."
        if not differing
        else "Besides model and seed, these settings differ: " + ", ".join(differing) + "."
    )
    print(table, remark, sep="\n\n")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        comparison.draw(args.out / "curves.png", runs, metric)
        comparison.write_csv(args.out / "runs.csv", runs)
        command = shlex.join(["tools/compare_runs.py", *(argv or sys.argv[1:])])
        text = f"# {metric} of {len(runs)} runs\n\n{table}\n\n{remark}\n\n![curves](curves.png)\n"
        text += f"\nWritten by `python {command}`; every value is in [runs.csv](runs.csv).\n"
        (args.out / "report.md").write_text(text, encoding="utf-8")
        print(f"\nWrote {args.out / 'report.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
