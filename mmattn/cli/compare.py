"""``mmattn compare``: compare attention blocks in one network on equal terms."""

from __future__ import annotations

import argparse
import os
from functools import partial

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s configs/comparison/fpn_mobilenetv2_1xb8_camvid-120x160.py \\
    --insert none,SE,CBAM,ECA,ELA-T,ELA-B,CoordAtt,CrissCross --at backbone.layer5 \\
    --seeds 3 --budget 120it --data-root data/camvid --out docs/results/compare_camvid
%(prog)s mmdet::retinanet/retinanet_r18_fpn_1x_coco.py \\
    --insert "SE,CBAM(reduction=8)" --at "backbone.layer3.*.conv2" --at neck --budget 2h
%(prog)s my_segmentor.py --insert SE,ECA --at backbone --budget 90s --dry-run
"""
NOTES = """\
A block is given by its registered name (CBAM, mmattn.CBAM, mmdet.X) or by the beginning of exactly
one name (CrissCross), with a version (ELA-T) or arguments. A place is backbone or neck: alone, the
block goes after each of its output feature maps; with a pattern, after each submodule that matches,
where * stands for one part of a name. Heads of segmentors take a pattern too, as in
decode_head.pixel_decoder.output_convs.* of Mask2Former (panoptic_head in mmdet).

All variants are checked before any is trained. The same command again goes on where it was stopped;
with more names or seeds it adds them. The report has Markdown, CSV per run, JSON and a plot.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn compare") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Compare attention blocks in one network: same budget, same data, same seeds.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument(
        "config",
        metavar="CONFIG",
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
        "--seeds", type=int, default=3, metavar="N", help="runs of each variant (default: 3)"
    )
    parser.add_argument(
        "--data-root", metavar="DIR", help="folder that replaces the data_root of the config"
    )
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="folder of the runs (default: work_dirs/compare_NAME-OF-THE-CONFIG)",
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the report (default: --work-dir)")
    parser.add_argument(
        "--metric",
        help="metric to compare (default: that of save_best in the config, else the usual "
        "one of the task, such as mIoU or bbox_mAP, else the first)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything and write the configs, then stop"
    )
    parser.add_argument(
        "--report-only",
        action="store_true",
        help="write the report from finished runs; train nothing",
    )
    arguments.add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn compare") -> int:
    """Compare; returns the exit code."""
    args = parse_args(argv, prog)
    return run(
        lambda: _compare(args, arguments.command_line(prog, argv)),
        if_interrupted="the same command goes on from here",
    )


def _compare(args: argparse.Namespace, command: str) -> None:
    import mmattn.compare
    import mmattn.config
    from mmattn.compare import budget

    # What needs no torch comes before its import, which takes seconds.
    mmattn.config.find_config(args.config)
    budget.parse_budget(args.budget)
    threads = os.environ.get("OMP_NUM_THREADS")
    mmattn.compare.compare(
        args.config,
        args.insert,
        args.at,
        budget=args.budget,
        seeds=args.seeds,
        data_root=args.data_root,
        work_dir=args.work_dir,
        out=args.out,
        metric=args.metric,
        cfg_options=mmattn.config.parse_cfg_options(args.cfg_options),
        dry_run=args.dry_run,
        report_only=args.report_only,
        command=f"OMP_NUM_THREADS={threads} {command}" if threads else command,
        log=partial(print, flush=True),
    )
