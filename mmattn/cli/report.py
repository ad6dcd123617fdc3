"""``mmattn report``: write a report on a trained and exported model."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
%(prog)s configs/ccnet/ccnet_mobilenetv2_1xb8-1k_camvid-180x240.py \\
    work_dirs/ccnet_mobilenetv2_1xb8-1k_camvid-180x240/iter_1000.pth \\
    --exported work_dirs/ccnet_camvid/ccnet_camvid.onnx \\
    --out docs/results/ccnet_camvid --maps-only
"""
NOTES = """\
Accuracy is measured anew on the validation set, as mmattn test does it, in torch and,
with --exported, in the runtime of that file. The curves and the training time come from the run's
folder, the parity from the export's parity.json.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn report") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Write a report on a segmentation run: table, curves and predictions, small enough to be "
        "committed.",
        EXAMPLES,
        NOTES,
    )
    arguments.add_config(parser)
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="weights of the model, in the folder of their run, whose curves are shown",
    )
    parser.add_argument(
        "--exported",
        metavar="FILE",
        help="exported file (.onnx or .xml), with parity.json beside it, if there is one",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder of the report"
    )
    parser.add_argument(
        "--num-images", type=int, default=4, metavar="N", help="images to show (default: 4)"
    )
    parser.add_argument(
        "--maps-only",
        action="store_true",
        help="show predictions alone, for a dataset whose images may not be passed on",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn report") -> int:
    """Measure the run and write its report; returns the exit code."""
    args = parse_args(argv, prog)
    words = sys.argv[1:] if argv is None else argv
    return run(lambda: _report(args, f"{prog} {shlex.join(words)}"))


def _report(args: argparse.Namespace, command: str) -> None:
    from mmattn.export import measure_run
    from mmattn.export.parity import read_parity
    from mmattn.reports import write_markdown_report
    from mmattn.reports.semantic.run import Step

    steps = [Step("Train", f"mmattn train {args.config}")]
    if args.exported:
        parity = read_parity(args.exported)
        traced = parity["rows"][0]
        shape = f"--shape {traced['height']} {traced['width']}"
        shape += " --dynamic" if parity["dynamic"] else ""
        export = f"mmattn export {args.config} {args.checkpoint} --out {args.exported}"
        if Path(args.exported).suffix == ".xml":
            export += " --format openvino"
        steps.append(Step("Export", f"{export} {shape}"))
    steps.append(Step("Report", command))
    measured = measure_run(
        args.config,
        args.checkpoint,
        exported_file=args.exported,
        num_images=args.num_images,
        steps=steps,
    )
    print(f"wrote {write_markdown_report(measured, args.out, maps_only=args.maps_only)}")
