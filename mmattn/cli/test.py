"""``mmattn test``: test a checkpoint of any config."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run
from ._run_folder import add_model, use_run

EXAMPLES = """\
%(prog)s work_dirs/NAME --tta
%(prog)s work_dirs/NAME last
%(prog)s mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py fcn.pth --out labels/
%(prog)s mmdet::yolox/yolox_tiny_8xb8-300e_coco.py yolox.pth --out results.pkl --show-dir overlays
tools/dist_test.sh configs/my_config.py work_dirs/my_config/iter_40000.pth 8
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn test") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog, "Test a checkpoint of any config of mmdet, mmseg or mmattn.", EXAMPLES
    )
    add_model(parser)
    arguments.add_allow_partial(parser)
    arguments.add_work_dir(parser, "the metrics")
    parser.add_argument(
        "--out",
        metavar="OUT",
        help="write all predictions: to a .pkl file or, for segmentation, to a folder of label "
        "maps",
    )
    parser.add_argument("--show", action="store_true", help="show each prediction in a window")
    parser.add_argument(
        "--show-dir",
        metavar="DIR",
        help="paint the predictions over the images, beside the ground truth, and save them in DIR",
    )
    arguments.add_opacity(parser, None)
    arguments.add_no_legend(parser)
    parser.add_argument(
        "--wait-time",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="time that each window stays open (default: 2)",
    )
    parser.add_argument(
        "--tta",
        action="store_true",
        help="average over augmented copies: tta_model and tta_pipeline of the config, else a flip",
    )
    arguments.add_amp(parser)
    arguments.add_no_fuse(parser, "test")
    arguments.add_manifest(parser)
    arguments.add_cfg_options(parser)
    arguments.add_launcher(parser)
    args = parser.parse_args(argv)
    arguments.require_manifest(parser, args)
    arguments.set_local_rank(args)
    return args


def main(argv: list[str] | None = None, prog: str = "mmattn test") -> int:
    """Test; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _test(args, arguments.command_line(prog, argv)))


def _test(args: argparse.Namespace, command: str) -> None:
    import mmattn.config
    import mmattn.engine

    use_run(args)
    mmattn.engine.test(
        args.config,
        args.checkpoint,
        work_dir=args.work_dir,
        out=args.out,
        show=args.show,
        show_dir=args.show_dir,
        wait_time=args.wait_time,
        opacity=args.opacity,
        legend=not args.no_legend,
        tta=args.tta,
        amp=args.amp,
        fuse=not args.no_fuse,
        allow_partial=args.allow_partial,
        cfg_options=mmattn.config.parse_cfg_options(args.cfg_options),
        launcher=args.launcher,
        manifest=args.manifest,
        manifest_hashes=args.manifest_hashes,
        command=command,
    )
