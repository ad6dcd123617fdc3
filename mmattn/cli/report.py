"""``mmattn report``: write a report on a trained and exported model."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError

from . import _arguments as arguments
from ._run import run

if TYPE_CHECKING:
    from mmattn.engine.detection_measurement import OpenedFile
    from mmattn.reports.run import Step

EXAMPLES = """\
%(prog)s configs/ccnet/ccnet_mobilenetv2_1xb8-1k_camvid-180x240.py \\
    work_dirs/ccnet_mobilenetv2_1xb8-1k_camvid-180x240/iter_1000.pth \\
    --exported work_dirs/ccnet_camvid/ccnet_camvid.onnx \\
    --out docs/results/ccnet_camvid --maps-only
"""
NOTES = """\
Accuracy is measured anew on the validation set, as mmattn test does it, in torch and,
with --exported, in the runtime of that file. The curves and the training time come from the run's
folder, the parity from the export's NAME.parity.json, and the commands from both. Detection and
instance segmentation need COCO's metric in val_evaluator, panoptic segmentation the panoptic one;
the numbers are in detection_bbox.json, detection_segm.json and panoptic.json too.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn report") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Write a report on a run of segmentation or detection: tables, curves and images, small "
        "enough to be committed.",
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
        help="exported file (.onnx or .xml) of a semantic segmentation model or a detector, with "
        "the report of its export, NAME.parity.json, beside it",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder of the report"
    )
    parser.add_argument(
        "--num-images",
        type=int,
        default=4,
        metavar="N",
        help="images to show, in detection the worst ones (default: 4)",
    )
    parser.add_argument(
        "--maps-only",
        action="store_true",
        help="show predictions without the images, for a dataset whose images may not be passed on",
    )
    parser.add_argument(
        "--html",
        action="store_true",
        help="write report.html too: one file with everything inside",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn report") -> int:
    """Measure the run and write its report; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _report(args, arguments.command_line(prog, argv)))


def _report(args: argparse.Namespace, command: str) -> None:
    from mmattn.config import load_config
    from mmattn.tasks import TASKS, task_of

    task = task_of(load_config(args.config))
    if task.report is None:
        known = dict.fromkeys(one.name for one in TASKS if one.report)
        raise ConfigError(
            f"{args.config}: there is no report on {task.name} in {task.scope}; there is one on "
            f"{', '.join(known)}."
        )
    options = {}
    if args.exported:
        if not task.report.exported:
            raise ConfigError(
                f"--exported {args.exported}: a report on {task.name} measures the checkpoint "
                "alone. Leave --exported out."
            )
        options[task.report.exported] = args.exported
        if task.report.exported == "exported":
            options["exported"] = _opened(args.exported)
    measured = import_module(task.report.measurement).measure_run(
        args.config,
        args.checkpoint,
        num_images=args.num_images,
        steps=_steps(args, command),
        **options,
    )
    pages = import_module(task.report.pages)
    page = pages.write_markdown_report(measured, args.out, maps_only=args.maps_only)
    print(f"wrote {page}")
    if args.html:
        file = args.out / "report.html"
        print(f"wrote {pages.write_html_report(measured, file, maps_only=args.maps_only)}")


def _opened(file: str) -> OpenedFile:
    from mmattn.engine.detection_measurement import OpenedFile
    from mmattn.export.parity import read_parity
    from mmattn.export.predictors import load_predictor

    parity = read_parity(file)
    return OpenedFile(Path(file), load_predictor(file), parity)


def _steps(args: argparse.Namespace, command: str) -> list[Step]:
    """Return the commands that were typed; those of a program that called mmattn are not known."""
    from mmattn.reports.curves import commands_of_run
    from mmattn.reports.run import Step

    steps = [
        Step("Train" if not index else "Resume", line)
        for index, line in enumerate(commands_of_run(Path(args.checkpoint).parent))
    ]
    if args.exported:
        from mmattn.export.parity import read_parity

        steps.append(Step("Export", read_parity(args.exported).get("command", "")))
    return [*(step for step in steps if step.command), Step("Report", command)]
