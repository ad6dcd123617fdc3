#!/usr/bin/env python
"""Test a checkpoint of any config of mmdet, mmseg or mmattn."""

from __future__ import annotations

import argparse
import os
import sys

EXAMPLE = """\
examples:
  python tools/test.py configs/my_config.py work_dirs/my_config/iter_40000.pth --tta
  python tools/test.py mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py fcn.pth --out labels/
  python tools/test.py mmdet::yolox/yolox_tiny_8xb8-300e_coco.py yolox.pth \\
      --out results.pkl --show-dir painted
  tools/dist_test.sh configs/my_config.py work_dirs/my_config/iter_40000.pth 8
"""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "config", help="a config file, or package::path of one that mmdet, mmseg or mmattn has"
    )
    parser.add_argument("checkpoint", help="the weights: .pth or .safetensors")
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="where the metrics go (default: work_dirs/<config's name>)",
    )
    parser.add_argument(
        "--out",
        metavar="OUT",
        help="write all predictions: a .pkl file or, for segmentation, a folder of label maps",
    )
    parser.add_argument("--show", action="store_true", help="show each prediction in a window")
    parser.add_argument(
        "--show-dir",
        metavar="DIR",
        help="paint the predictions into DIR (for detection: DIR inside the folder of this test)",
    )
    parser.add_argument(
        "--wait-time", type=float, default=2.0, metavar="SECONDS", help="per window (default: 2)"
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
    parser.add_argument(
        "--tta",
        action="store_true",
        help="average over augmented copies: the config's tta_model and tta_pipeline, else a flip",
    )
    parser.add_argument(
        "--amp",
        action="store_true",
        help="mixed precision (float16 on a GPU, bfloat16 on a CPU)",
    )
    parser.add_argument(
        "--no-fuse",
        action="store_true",
        help="test the model as it was trained, not its inference form (norms folded, …)",
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="go on with a checkpoint that leaves weights of the model random",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    import mmattn.config
    import mmattn.engine
    from mmattn.errors import MMAttnError

    try:
        mmattn.engine.test(
            args.config,
            args.checkpoint,
            work_dir=args.work_dir,
            out=args.out,
            show=args.show,
            show_dir=args.show_dir,
            wait_time=args.wait_time,
            tta=args.tta,
            amp=args.amp,
            fuse=not args.no_fuse,
            allow_partial=args.allow_partial,
            cfg_options=mmattn.config.parse_cfg_options(args.cfg_options),
            launcher=args.launcher,
        )
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
