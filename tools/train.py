#!/usr/bin/env python
"""Train any config of mmdet, mmseg or mmattn."""

from __future__ import annotations

import argparse
import os
import sys

EXAMPLE = """\
examples:
  python tools/train.py mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py --amp
  python tools/train.py configs/my_config.py --work-dir runs/a --resume \\
      --cfg-options train_dataloader.batch_size=4 optim_wrapper.optimizer.lr=0.005
  tools/dist_train.sh mmdet::yolox/yolox_tiny_8xb8-300e_coco.py 8

The run's folder holds checkpoints and, per start, a folder with the log, results.csv (every class
at every validation) and vis_data (scalars.json, curves_*.png).
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", help="a config file, or package::path of one that mmdet, mmseg or mmattn has"
    )
    parser.add_argument(
        "--work-dir", metavar="DIR", help="where the run goes (default: work_dirs/<config's name>)"
    )
    parser.add_argument(
        "--amp", action="store_true", help="mixed precision (float16 on a GPU, bfloat16 on a CPU)"
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate with the batch size, relative to auto_scale_lr of the config",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CKPT",
        help="go on from CKPT or, without it, from the newest checkpoint of the run's folder",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help='override settings; a list is KEY="[a,b]" or KEY=a,b, tuples may be nested, no spaces',
    )
    parser.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm", "mpi"),
        default="none",
        help="what started the processes of a distributed run",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    import mmattn.config
    import mmattn.engine
    from mmattn.errors import MMAttnError, is_interrupt

    try:
        mmattn.engine.train(
            args.config,
            work_dir=args.work_dir,
            amp=args.amp,
            auto_scale_lr=args.auto_scale_lr,
            resume=args.resume,
            cfg_options=mmattn.config.parse_cfg_options(args.cfg_options),
            launcher=args.launcher,
        )
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, SyntaxError) as error:
        if not is_interrupt(error):
            raise
        folder = args.work_dir or "the run's folder"
        print(
            f"\nInterrupted; --resume goes on from the newest checkpoint in {folder}.",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
