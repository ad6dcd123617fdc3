"""``mmattn report``: the report of a run, of several side by side, or of a trained model."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError

from . import _arguments as arguments
from ._run import run

if TYPE_CHECKING:
    from mmattn.engine.measurement.detection import OpenedFile
    from mmattn.reports.run import Step

EXAMPLES = """\
%(prog)s work_dirs/my_config                  report.html again, from what the run left
%(prog)s work_dirs/bevanet-s work_dirs/pidnet-s --metric mIoU --out work_dirs/side_by_side
%(prog)s work_dirs/my_config --plot loss lr mIoU --csv values.csv
%(prog)s configs/ccnet/ccnet_mobilenetv2_1xb8-1k_camvid-180x240.py \\
    work_dirs/ccnet_mobilenetv2_1xb8-1k_camvid-180x240/iter_1000.pth \\
    --exported work_dirs/ccnet_camvid/ccnet_camvid.onnx \\
    --out docs/results/ccnet_camvid --maps-only
"""
NOTES = """\
RUN is the folder of a training (or of one start of a test). Its page is written from the files in
it; no model is needed and nothing is measured. Several runs are put side by side: curves over each
other, a table, and what differs, setting by setting. Runs of one config are seeds of one row.

CONFIG CHECKPOINT measures anew on the validation set, as mmattn test does it, in torch and,
with --exported, in the runtime of that file. The curves and the training time come from the run's
folder, the parity from the export's NAME.parity.json, and the commands from both. Detection and
instance segmentation need COCO's metric in val_evaluator, panoptic segmentation the panoptic one;
the numbers are in detection_bbox.json, detection_segm.json and panoptic.json too.

To train variants of one network with other blocks under equal conditions, use the command compare.
"""
# Options of the two uses; others would be ignored in them.
_OF_RUNS = {"what", "out", "metric", "csv", "plot"}
_OF_CHECKPOINT = {"what", "out", "exported", "num_images", "maps_only", "html"}


def parse_args(argv: list[str] | None = None, prog: str = "mmattn report") -> argparse.Namespace:
    """Read the command line.

    Returns:
        The arguments; ``config`` and ``checkpoint`` where a checkpoint is measured, else ``runs``.
    """
    parser = arguments.new_parser(
        prog,
        "Write the report of a run, of runs side by side, or of a checkpoint of segmentation or "
        "detection.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument(
        "what",
        nargs="+",
        metavar="RUN",
        help="folders of runs; or CONFIG CHECKPOINT: weights in the folder of their run, to be "
        "measured with their config",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the report (default: that of the run; runs side by side are only printed; "
        "CONFIG CHECKPOINT needs it)",
    )
    of_runs = parser.add_argument_group("runs")
    of_runs.add_argument(
        "--metric",
        help="name of the metric in the validation log (default: the usual one of the task, such "
        "as mIoU or bbox_mAP, else the first); for the page, not for --csv and --plot of one run",
    )
    of_runs.add_argument(
        "--csv", type=Path, metavar="FILE", help="write every logged value to FILE, one a row"
    )
    of_runs.add_argument(
        "--plot",
        nargs="+",
        metavar="KEY",
        help="draw these values over the training, such as loss lr mIoU, into plot.png",
    )
    measured = parser.add_argument_group("CONFIG CHECKPOINT")
    measured.add_argument(
        "--exported",
        metavar="FILE",
        help="exported file (.onnx or .xml) of a semantic segmentation model or a detector, with "
        "the report of its export, NAME.parity.json, beside it",
    )
    measured.add_argument(
        "--num-images",
        type=int,
        default=4,
        metavar="N",
        help="images to show, in detection the worst ones (default: 4)",
    )
    measured.add_argument(
        "--maps-only",
        action="store_true",
        help="show predictions without the images, for a dataset whose images may not be passed on",
    )
    measured.add_argument(
        "--html",
        action="store_true",
        help="write report.html too: one file with everything inside",
    )
    args = parser.parse_args(argv)
    _sort_out(parser, args)
    return args


def _sort_out(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Tell the two uses apart; end with an error where an option belongs to the other one."""
    first, *rest = args.what
    weights = any(w.lower().endswith(arguments.WEIGHTS) or "://" in w for w in rest)
    if weights:
        arguments.refuse_several_checkpoints(parser, rest)
        if len(rest) != 1:
            parser.error(f"CONFIG CHECKPOINT are two words, not {len(args.what)}")
        args.config, args.checkpoint = first, rest[0]
    else:
        args.runs = args.what
    use, takes = ("CONFIG CHECKPOINT", _OF_CHECKPOINT) if weights else ("RUN", _OF_RUNS)
    given = [
        name.replace("_", "-")
        for name in sorted((_OF_RUNS | _OF_CHECKPOINT) - takes)
        if getattr(args, name) != parser.get_default(name)
    ]
    if given:
        parser.error(f"{use} takes no --{', --'.join(given)}: leave it out")
    if weights and args.out is None:
        parser.error("the following arguments are required: --out")
    if not weights and len(args.runs) == 1 and args.metric and (args.csv or args.plot):
        parser.error(
            "--metric is for the page, which --csv and --plot do not write: leave it out; "
            "--csv writes every value, and --plot takes the names of values"
        )
    if not weights and len(args.runs) > 1 and args.plot and args.out is None:
        parser.error("--plot of several runs: give --out DIR, the folder of plot.png")


def main(argv: list[str] | None = None, prog: str = "mmattn report") -> int:
    """Write the report; returns the exit code."""
    args = parse_args(argv, prog)
    command = arguments.command_line(prog, argv)
    use = _runs if "runs" in args else _report
    return run(lambda: use(args, command))


def _runs(args: argparse.Namespace, command: str) -> None:
    folders = [Path(folder) for folder in args.runs]
    if args.csv or args.plot:
        from mmattn.compare import plot_values, write_logged_values

        if args.csv:
            print(f"wrote {write_logged_values(folders, args.csv)}")
        if args.plot:
            place = (args.out or folders[0]) / "plot.png"
            print(f"wrote {plot_values(folders, args.plot, place)}")
        if len(folders) == 1:
            return
    if len(folders) == 1:
        from mmattn.compare import report_run

        print(f"wrote {report_run(folders[0], out=args.out, metric=args.metric)}")
    else:
        from mmattn.compare import compare_runs

        compare_runs(folders, metric=args.metric, out=args.out, command=command)


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
    from mmattn.engine.measurement.detection import OpenedFile
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
