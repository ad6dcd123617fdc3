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
    --budget 120it --data-root data/camvid --out docs/results/compare_camvid
%(prog)s mmdet::retinanet/retinanet_r18_fpn_1x_coco.py \\
    --insert "SE,CBAM(reduction=8)" --at "backbone.layer3.*.conv2" --at neck --budget 2h
%(prog)s my_segmentor.py --insert SE,ECA --at auto --total 8h --devices cuda:0,cuda:1
%(prog)s --replay docs/results/compare_camvid/run.lock
%(prog)s --error-rate                              # by simulation, in seconds
%(prog)s my_segmentor.py --error-rate --pairs 20 --seeds 3 --budget 300it
"""
NOTES = """\
A block is given by its registered name (CBAM, mmattn.CBAM, mmdet.X) or by the beginning of exactly
one name (CrissCross), with a version (ELA-T) or arguments. A place is backbone or neck: alone, the
block goes after each of its output feature maps; with a pattern, after each submodule that matches,
where * stands for one part of a name; mmattn slots lists them. A pattern alone (layer3) will do
where one part alone has it. Heads of segmentors take a pattern too, as in
decode_head.pixel_decoder.output_convs.* of Mask2Former (panoptic_head in mmdet). --at auto is each
stage of the backbone and the neck in turn, so that every block has as many rows as there are
places.

Two controls are trained beside the blocks: the network with other seeds, and a wider one with as
many parameters as a block adds. All variants are checked before any is trained. The same command
again goes on where it was stopped; with more names or seeds it adds them. The report has Markdown,
CSV, LaTeX, JSON, plots, and run.lock, from which --replay trains everything again and holds the new
table against the old one (exit code 1 where a row is outside of its interval).
"""
# Options of each use besides a comparison; others would be ignored in it.
_OF_REPLAY = {"replay", "work_dir", "data_root", "devices", "jobs"}
_OF_SIMULATION = {"error_rate", "pairs"}
_OF_ERROR_RATE = {
    *("error_rate", "config", "budget", "seeds", "pairs", "hosts", "metric", "cfg_options"),
    *("data_root", "work_dir", "out", "devices", "jobs", "report_only"),
}


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
        nargs="?",
        metavar="CONFIG",
        help="the network without a block: a file, or package::path of mmdet, mmseg or mmattn",
    )
    parser.add_argument(
        "--insert",
        metavar="NAMES",
        help="blocks, separated by commas; each is compared with none, the network without a block",
    )
    parser.add_argument(
        "--at",
        action="append",
        metavar="PART[.PATTERN]",
        help="place of the blocks, e.g. backbone.layer3; may be given several times; auto: each "
        "place in turn",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--budget",
        metavar="LENGTH",
        help="length of each run: iterations (300it) or a time (90s, 5min, 1h), which is turned "
        "into iterations once, by the speed of the network without a block",
    )
    length.add_argument(
        "--total",
        metavar="TIME",
        help="time of all runs together instead (8h), which is shared out evenly",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        metavar="N",
        help="runs of each variant, at least three for a verdict that can find anything "
        "(default: 5)",
    )
    parser.add_argument(
        "--no-controls", action="store_true", help="train no controls; the report says so"
    )
    parser.add_argument(
        "--no-equal-time",
        action="store_true",
        help="do not train slower variants a second time, for as long as the network without a "
        "block takes",
    )
    parser.add_argument(
        "--devices",
        metavar="NAMES",
        help="run in processes of their own, one on each device at a time: cuda:0,cuda:1",
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="number of such processes at a time")
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
    parser.add_argument(
        "--replay", metavar="LOCK", help="repeat the comparison of a run.lock, and compare"
    )
    parser.add_argument(
        "--error-rate",
        action="store_true",
        help="measure how often equal networks are called different: by simulation, or with CONFIG "
        "by training it with many seeds",
    )
    parser.add_argument(
        "--pairs",
        type=int,
        metavar="N",
        help="pairs of --error-rate (default: 200 by simulation, 20 with CONFIG)",
    )
    parser.add_argument(
        "--hosts",
        type=int,
        metavar="N",
        help="runs of --error-rate CONFIG (default: so many that no two pairs share one)",
    )
    arguments.add_cfg_options(parser)
    args = parser.parse_args(argv)
    _require(parser, args)
    return args


def _require(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with an error where options of the chosen use are missing, or have no effect in it."""
    use, takes = "a comparison", set(vars(args)) - {"replay", "error_rate", "pairs", "hosts"}
    if args.replay:
        use, takes = "--replay, which repeats what the lock says,", _OF_REPLAY
    elif args.error_rate:
        use = "--error-rate CONFIG" if args.config else "--error-rate without CONFIG"
        takes = _OF_ERROR_RATE if args.config else _OF_SIMULATION
    given = [name.replace("_", "-") for name, value in vars(args).items()
             if name not in takes and value != parser.get_default(name)]  # fmt: skip
    if given:
        parser.error(f"{use} takes no {', '.join(given)}: leave {', '.join(given)} out")
    if args.pairs is not None and args.pairs < 1:
        parser.error(f"--pairs {args.pairs}: must be at least 1")
    if args.replay:
        return
    needed = ("config", "insert", "at")
    if args.error_rate:
        needed = ("budget",) if args.config else ()
    missing = [name for name in needed if not getattr(args, name)]
    if missing:
        names = ", ".join("CONFIG" if name == "config" else f"--{name}" for name in missing)
        parser.error(f"the following arguments are required: {names}")
    if not args.error_rate and not (args.budget or args.total):
        parser.error("give --budget, the length of each run, or --total, that of all")


def main(argv: list[str] | None = None, prog: str = "mmattn compare") -> int:
    """Compare; returns the exit code."""
    args = parse_args(argv, prog)
    command = arguments.command_line(prog, argv)
    threads = os.environ.get("OMP_NUM_THREADS")
    command = f"OMP_NUM_THREADS={threads} {command}" if threads else command
    use = _compare
    if args.replay:
        use = _replay
    elif args.error_rate:
        use = _error_rate if args.config else _simulate
    return run(lambda: use(args, command), if_interrupted="the same command goes on from here")


def _compare(args: argparse.Namespace, command: str) -> None:
    import mmattn.compare
    import mmattn.config
    from mmattn.compare import budget

    # What needs no torch comes before its import, which takes seconds.
    mmattn.config.find_config(args.config)
    budget.parse_budget(args.budget or args.total)
    mmattn.compare.compare(
        args.config,
        args.insert,
        args.at,
        budget=args.budget,
        total=args.total,
        seeds=args.seeds,
        controls=not args.no_controls,
        match_time=not args.no_equal_time,
        devices=args.devices,
        jobs=args.jobs,
        data_root=args.data_root,
        work_dir=args.work_dir,
        out=args.out,
        metric=args.metric,
        cfg_options=mmattn.config.parse_cfg_options(args.cfg_options),
        dry_run=args.dry_run,
        report_only=args.report_only,
        command=command,
        log=partial(print, flush=True),
    )


def _replay(args: argparse.Namespace, command: str) -> int:
    from mmattn.compare import replay

    inside = replay(
        args.replay,
        work_dir=args.work_dir,
        data_root=args.data_root,
        devices=args.devices,
        jobs=args.jobs,
        command=command,
        log=partial(print, flush=True),
    )
    return 0 if inside else 1


def _simulate(args: argparse.Namespace, command: str) -> None:
    from mmattn.compare import simulation_page

    print(simulation_page(200 if args.pairs is None else args.pairs))


def _error_rate(args: argparse.Namespace, command: str) -> None:
    import mmattn.config
    from mmattn.compare import measure_error_rate

    measure_error_rate(
        args.config,
        budget=args.budget,
        seeds=args.seeds,
        pairs=20 if args.pairs is None else args.pairs,
        hosts=args.hosts,
        metric=args.metric,
        data_root=args.data_root,
        work_dir=args.work_dir,
        out=args.out,
        cfg_options=mmattn.config.parse_cfg_options(args.cfg_options),
        devices=args.devices,
        jobs=args.jobs,
        report_only=args.report_only,
        command=command,
        log=partial(print, flush=True),
    )
