"""``mmattn train``: train any config."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s yolov12-n data=my_boxes
%(prog)s mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py --amp
%(prog)s my_config.py --work-dir runs/a train_dataloader.batch_size=4
%(prog)s runs/a --resume
tools/dist_train.sh mmdet::yolox/yolox_tiny_8xb8-300e_coco.py 8
"""
NOTES = """\
The folder of the run gets the checkpoints and, for each start, a folder with the log, command.txt,
results.csv (every class at every validation) and vis_data (scalars.json, curves_*.png).
A training that is resumed with more or fewer epochs, another learning rate or another schedule is
refused until resume_schedule=new (the config's, as if from the first step on) or =old (the
checkpoint's) says which one holds. Given the folder of a run, its config is trained in that folder.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn train") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog, "Train any config of mmdet, mmseg or mmattn.", EXAMPLES, NOTES
    )
    arguments.add_config(parser)
    arguments.add_work_dir(parser, "the run")
    arguments.add_amp(parser)
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate with the batch size, relative to auto_scale_lr of the config",
    )
    parser.add_argument(
        "--shard-model",
        action="store_true",
        help="share weights, gradients and optimizer state out among the processes of --launcher, "
        "for models that are too large for one GPU",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="continue from CHECKPOINT or, without it, from the newest one in the run's folder",
    )
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="NAME",
        help="log to tensorboard, wandb or mlflow too; may be given several times",
    )
    arguments.add_manifest(parser)
    arguments.add_cfg_options(parser)
    arguments.add_launcher(parser)
    args = parser.parse_args(argv)
    arguments.require_manifest(parser, args)
    arguments.set_local_rank(args)
    return args


def main(argv: list[str] | None = None, prog: str = "mmattn train") -> int:
    """Train; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _train(args, arguments.command_line(prog, argv)))


def _train(args: argparse.Namespace, command: str) -> None:
    import mmattn.config
    import mmattn.engine
    from mmattn.config.run_folders import is_run

    if args.work_dir is None and is_run(args.config):
        args.work_dir = args.config
    mmattn.engine.train(
        args.config,
        work_dir=args.work_dir,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        shard=args.shard_model,
        resume=args.resume,
        cfg_options=mmattn.config.parse_cfg_options(args.cfg_options),
        launcher=args.launcher,
        trackers=args.track,
        manifest=args.manifest,
        manifest_hashes=args.manifest_hashes,
        command=command,
    )
