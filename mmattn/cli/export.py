"""``mmattn export``: export a trained model and check the file against torch."""

from __future__ import annotations

import argparse
from functools import partial

from . import _arguments as arguments
from ._run import run
from ._run_folder import add_model, use_run

EXAMPLES = """\
%(prog)s work_dirs/NAME --out model.onnx --dynamic
%(prog)s CONFIG CHECKPOINT --format onnx --out model.onnx --dynamic
%(prog)s CONFIG CHECKPOINT --out model.onnx --shape 512 1024
%(prog)s CONFIG CHECKPOINT --out model.onnx --images street.jpg more_images/
%(prog)s CONFIG CHECKPOINT --out detector.onnx --dynamic --images images --annotations val.json
%(prog)s CONFIG CHECKPOINT --format openvino --out model.xml --dynamic
"""
NOTES = """\
The file takes float32 RGB images in 0..255, (N, 3, H, W); normalisation is inside the graph. The
check runs torch and onnxruntime on real images (--images, else the config's validation set), writes
NAME.parity.json beside NAME.onnx and ends with exit code 7 if they differ by more than the limits;
the file is then renamed to NAME.onnx.failed.
A detector's file returns boxes (N, K, 4), scores, labels and their number, with NMS inside;
--form decoded returns all candidates, --form raw what the head returns.
--format openvino writes model.xml and model.bin, converted from a model.onnx beside them, and
checks both files in their runtimes.
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn export") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Export a trained model and check that the file computes what torch computes.",
        EXAMPLES,
        NOTES,
    )
    add_model(parser)
    arguments.add_allow_partial(parser)
    parser.add_argument("--format", default="onnx", help="onnx (default) or openvino")
    parser.add_argument(
        "--out", metavar="FILE", help="file to write (default: beside the checkpoint)"
    )
    parser.add_argument(
        "--shape",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="height and width to trace at (default: the config's crop size, else 512 512)",
    )
    parser.add_argument("--dynamic", action="store_true", help="leave batch, height and width free")
    parser.add_argument(
        "--argmax", action="store_true", help="return classes (N, H, W) instead of logits"
    )
    parser.add_argument(
        "--form",
        choices=("nms", "decoded", "raw"),
        help="output of a detector: detections after NMS (default), boxes and scores of all "
        "candidates, or the outputs of the head",
    )
    arguments.add_no_fuse(parser, "export")
    parser.add_argument(
        "--opset", type=int, help="ONNX opset (default: 18; 19 with --deform-conv deform_conv)"
    )
    parser.add_argument(
        "--deform-conv",
        choices=("grid_sample", "deform_conv"),
        default="grid_sample",
        help="form of deformable convolutions: operators that every runtime has (default), or one "
        "DeformConv node each, which needs opset 19 and a runtime that has it",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        default=[],
        metavar="PATH",
        help="images or folders, with their sub-folders, for the check",
    )
    parser.add_argument(
        "--annotations",
        metavar="JSON",
        help="COCO annotations of --images: a detector's AP in torch and in the file is compared "
        "on all of them",
    )
    parser.add_argument(
        "--num-images",
        type=int,
        default=4,
        metavar="N",
        help="number of images to check on (default: 4)",
    )
    parser.add_argument(
        "--check-size",
        type=int,
        nargs=2,
        action="append",
        default=[],
        metavar=("H", "W"),
        help="check at this size too, with --dynamic; may be given several times",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest difference of logits allowed, relative to the largest logit (default: 1e-4)",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=0.999,
        help="smallest share of pixels with the same class, or of the same detections, allowed "
        "(default: 0.999)",
    )
    parser.add_argument(
        "--parity",
        metavar="FILE",
        help="report of the check as JSON (default: NAME.parity.json beside --out)",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="quantise the file to int8 too, into NAME.int8.onnx, and report mIoU on the "
        "validation set, or AP on --annotations, before and after",
    )
    parser.add_argument(
        "--calibration-images",
        nargs="+",
        default=[],
        metavar="PATH",
        help="images or folders that --int8 takes the ranges of the activations from",
    )
    arguments.add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.check_size and not args.dynamic:
        parser.error("--check-size needs --dynamic: a file of one size takes no other")
    if args.annotations and not args.images:
        parser.error("--annotations are those of --images: give the images, or their folder, too")
    if args.int8 != bool(args.calibration_images):
        parser.error("--int8 and --calibration-images belong together: give both")
    if args.form and args.argmax:
        parser.error("--argmax is for segmentation, --form for detection")
    return args


def main(argv: list[str] | None = None, prog: str = "mmattn export") -> int:
    """Export; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _export(args, arguments.command_line(prog, argv)))


def _export(args: argparse.Namespace, command: str) -> None:
    from mmattn.config import parse_cfg_options
    from mmattn.engine.console import brief_console
    from mmattn.export import export
    from mmattn.weights.local import default_output, local_checkpoint

    use_run(args)
    out = default_output(
        args.checkpoint, args.out, ".xml" if args.format == "openvino" else ".onnx"
    )
    with brief_console():
        export(
            args.config,
            local_checkpoint(args.checkpoint, print),
            format=args.format,
            out=out,
            shape=tuple(args.shape) if args.shape else None,
            dynamic=args.dynamic,
            output="classes" if args.argmax else args.form,
            fuse=not args.no_fuse,
            allow_partial=args.allow_partial,
            opset=args.opset,
            deform_conv=args.deform_conv,
            images=args.images,
            annotations=args.annotations,
            num_images=args.num_images,
            sizes=[tuple(size) for size in args.check_size],
            tolerance=args.tolerance,
            min_agreement=args.min_agreement,
            parity_file=args.parity,
            calibration_images=args.calibration_images,
            cfg_options=parse_cfg_options(args.cfg_options),
            command=command,
            log=partial(print, flush=True),
        )
