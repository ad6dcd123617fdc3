"""``mmattn check``: check a config, its data and its model without training."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mmattn.errors import ConfigError, MMAttnError

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py --full
%(prog)s yolox_tiny_8xb8-300e_coco data=my_boxes --json found.json
%(prog)s my_config.py --write-manifest files.json
%(prog)s my_config.py --manifest files.json       # later: nothing has changed
"""
NOTES = """\
Checked are keys, types and arguments of the config, files, images, masks and annotations of the
data, images that train and val share, the numbers of classes, sizes of boxes against the head's
strides, and that the model can be built. Left out is what only a run shows:
pretrained weights are not downloaded, the pipelines transform no image, no batch goes through the
model, so that its memory and its loss are not known, and the schedule and the optimiser are not
built.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn check") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Check a config, its data and its model without training, as a training does before its "
        "first step.",
        EXAMPLES,
        NOTES,
    )
    arguments.add_config(parser)
    parser.add_argument(
        "--splits",
        nargs="+",
        default=["train", "val"],
        choices=["train", "val", "test"],
        help="splits to check (default: train val)",
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="read every image and mask, and look for images of val that look like one of train; "
        "without it, the check looks for all files but reads the headers of 2000 images and the "
        "values of 200 masks, and compares the files of train and val alone",
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write what was found, every place of it, as JSON; an error ends up there too",
    )
    manifest = parser.add_mutually_exclusive_group()
    manifest.add_argument(
        "--write-manifest",
        metavar="FILE",
        help="write size and SHA-256 of every file that the datasets read",
    )
    manifest.add_argument(
        "--manifest",
        metavar="FILE",
        help="compare every file with that manifest: damage that decodes without an error is found",
    )
    arguments.add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn check") -> int:
    """Print a table for each dataset and build the model; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _check(args))


def _check(args: argparse.Namespace) -> None:
    from mmattn.config import parse_cfg_options
    from mmattn.engine import check

    try:
        reports = check(
            args.config,
            splits=args.splits,
            full=args.full,
            cfg_options=parse_cfg_options(args.cfg_options),
            log=print,
        )
        _use_manifest(args, {report.where: (report.root, report.files) for report in reports})
    except MMAttnError as error:
        if args.json:
            shown = {"type": type(error).__name__, "text": str(error)}
            _write(args.json, {"fits": False, "error": shown, "datasets": []})
        raise
    if args.json:
        datasets = [report.to_json() for report in reports]
        _write(args.json, {"fits": True, "error": None, "datasets": datasets})


def _use_manifest(args: argparse.Namespace, datasets: dict[str, tuple[str, Any]]) -> None:
    """Write the manifest of the datasets, or compare them with it."""
    from mmattn.data.manifest import compare_with_manifest, write_manifest

    if args.write_manifest:
        written = write_manifest(args.write_manifest, datasets).datasets
        count = sum(len(files) for files in written.values())
        print(f"{args.write_manifest}: size and SHA-256 of {count} files.")
    elif args.manifest:
        count = compare_with_manifest(args.manifest, datasets)
        print(f"All {count} files are as {args.manifest} has them.")


def _write(path: str, content: dict[str, Any]) -> None:
    from mmattn.io import atomic_write

    try:
        with atomic_write(path, "w") as file:
            json.dump(content, file, indent=2, ensure_ascii=False)
    except OSError as error:
        raise ConfigError(f"--json {path}: cannot be written: {error.strerror}") from error
