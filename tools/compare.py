#!/usr/bin/env python
"""Compare attention blocks in one network: same budget, same data, same seeds."""

from __future__ import annotations

import argparse
import os
import shlex
import sys

EXAMPLE = """\
examples:
  python tools/compare.py --config configs/comparison/fpn_mobilenetv2_1xb8_camvid-120x160.py \\
      --insert none,SE,CBAM,ECA,ELA-T,ELA-B,CoordAtt,CrissCross --at backbone.layer5 \\
      --seeds 3 --budget 120it --data data/camvid --out docs/results/compare_camvid
  python tools/compare.py --config mmdet::retinanet/retinanet_r18_fpn_1x_coco.py \\
      --insert "SE,CBAM(reduction=8)" --at "backbone.layer3.*.conv2" --at neck --budget 2h
  python tools/compare.py --config my_config.py --insert SE,ECA --at backbone --budget 90s --dry-run

A block is given by its registered name (CBAM, mmattn.CBAM, mmdet.X) or by the beginning of exactly
one name (CrissCross), with a version (ELA-T) or arguments. A place is backbone or neck: alone, the
block goes after each of its output feature maps; with a pattern, after each submodule that matches,
where * stands for one part of a name.

All variants are checked before any is trained. The same command again goes on where it was stopped;
with more names or seeds it adds them. The report has Markdown, CSV per run, JSON and a plot.
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config",
        required=True,
        help="the network without a block: a file, or package::path of mmdet, mmseg or mmattn",
    )
    parser.add_argument(
        "--insert",
        required=True,
        metavar="NAMES",
        help="blocks, separated by commas; each is compared with none, the network without a block",
    )
    parser.add_argument(
        "--at",
        required=True,
        action="append",
        metavar="PART[.PATTERN]",
        help="place of the blocks, e.g. backbone.layer3; may be given several times",
    )
    parser.add_argument(
        "--budget",
        required=True,
        metavar="LENGTH",
        help="length of each run: iterations (300it) or a time (90s, 5min, 1h), which is turned "
        "into iterations once, by the speed of the network without a block",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        metavar="N",
        help="number of runs of each variant (default: 3)",
    )
    parser.add_argument(
        "--data", metavar="ROOT", help="folder that replaces the data_root of the config"
    )
    parser.add_argument(
        "--work-dir", metavar="DIR", help="folder of the runs (default: work_dirs/compare_<config>)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the report (default: work-dir)")
    parser.add_argument(
        "--metric",
        help="metric to compare (default: that of the config's best checkpoint, else the usual one "
        "of the task, such as mIoU or bbox_mAP, else the first)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and write the configs, then stop"
    )
    parser.add_argument(
        "--report-only",
        action="store_true",
        help="write the report from finished runs; train nothing",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help='override settings; a list is KEY="[a,b]" or KEY=a,b, tuples may be nested, no spaces',
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    import mmattn.compare
    import mmattn.config
    from mmattn.compare import budget
    from mmattn.errors import MMAttnError, is_interrupt

    words = sys.argv[1:] if argv is None else argv
    threads = os.environ.get("OMP_NUM_THREADS")
    setting = f"OMP_NUM_THREADS={threads} " if threads else ""
    try:
        # What needs no torch comes before its import, which takes seconds.
        mmattn.config.find_config(args.config)
        budget.parse_budget(args.budget)
        mmattn.compare.compare(
            args.config,
            args.insert,
            args.at,
            budget=args.budget,
            seeds=args.seeds,
            data=args.data,
            work_dir=args.work_dir,
            out=args.out,
            metric=args.metric,
            cfg_options=mmattn.config.parse_cfg_options(args.cfg_options),
            dry_run=args.dry_run,
            report_only=args.report_only,
            command=f"{setting}python tools/compare.py {shlex.join(words)}",
            log=lambda text: print(text, flush=True),
        )
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, SyntaxError) as error:
        if not is_interrupt(error):
            raise
        print("\nInterrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
