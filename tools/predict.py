#!/usr/bin/env python
"""Segment images with a trained model: class maps, and the classes painted over the images.

Example:
    python tools/predict.py work_dirs/run/config.py work_dirs/run/best.pth new_images --out found

For each image the folder gets NAME.png, an 8-bit index mask, and NAME_overlay.jpg; classes.json
lists the classes by index.
"""

from __future__ import annotations

import argparse
import sys


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config: a path, or mmattn::, mmseg:: and a name")
    parser.add_argument("checkpoint", help="weights of that config's model")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="images or folders")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument(
        "--opacity", type=float, default=0.5, help="of the colours, 0 to 1 (default: 0.5)"
    )
    parser.add_argument(
        "--no-fuse",
        action="store_true",
        help="run the model as it was trained, not its inference form (norms folded, …)",
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="go on with a checkpoint that leaves weights of the model random",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="override settings of the config",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the tool; bad input ends with its error's exit code and one message."""
    args = parse_args(argv)
    from mmattn.config import load_config, parse_cfg_options
    from mmattn.errors import MMAttnError
    from mmattn.inference import predict_images

    try:
        cfg = load_config(args.config, parse_cfg_options(args.cfg_options))
        written = predict_images(
            cfg,
            args.checkpoint,
            args.images,
            args.out,
            device=args.device,
            opacity=args.opacity,
            fuse=not args.no_fuse,
            allow_partial=args.allow_partial,
            log=print,
        )
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{len(written)} class maps in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
