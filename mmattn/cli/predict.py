"""``mmattn predict``: detect objects or segment images, with a model or an exported file."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run
from ._run_folder import split_model, use_run

EXAMPLES = """\
%(prog)s work_dirs/NAME photos --out found
%(prog)s model.onnx photos street.mp4 'more/**/*.jpg' --out found --save-crops
%(prog)s CONFIG CHECKPOINT large.tif --out found --tile 640 --overlap 0.2
%(prog)s CONFIG CHECKPOINT 0 --out found --max-frames 100
"""
NOTES = """\
Instead of CONFIG and CHECKPOINT the folder of a run can be given, whose best checkpoint is taken,
else the last, or one exported file, .onnx or .xml.

Detection: for each image the folder gets STEM_boxes.jpg; detections.json holds all detections in
COCO's format, in pixels of the stored images; --save-crops adds crops/CLASS/STEM_NUMBER.jpg.
Segmentation: for each image STEM.png, a label map (8 bits, 16 for more than 256 classes), and
STEM_overlay.jpg; classes.json lists the classes by index. Panoptic segmentation: STEM.png is the
map in COCO's form, and panoptic.json lists the segments of all images. A video becomes
STEM_boxes.mp4 or STEM_overlay.mp4; a number is a camera. A training leaves its config and its
checkpoints in work_dirs/NAME, where NAME is the config's.
"""
#: Endings of exported files.
EXPORTED = (".onnx", ".xml")
#: Of one that its export set aside, which is refused with its reason.
SET_ASIDE = tuple(f"{ending}.failed" for ending in EXPORTED)


def parse_args(argv: list[str] | None = None, prog: str = "mmattn predict") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Detect objects in images and videos, or segment them, with a trained model or an "
        "exported file.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument(
        "model",
        nargs="+",
        metavar="MODEL",
        help="the folder of a run, CONFIG CHECKPOINT, or one exported file, .onnx or .xml; then "
        "images, folders, patterns in quotes, videos, or the number of a camera",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    arguments.add_allow_partial(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument(
        "--max-frames", type=int, metavar="N", help="stop a video or a camera after N frames"
    )
    boxes = parser.add_argument_group("detection")
    boxes.add_argument(
        "--score-threshold",
        type=float,
        metavar="SCORE",
        help="smallest score of what is drawn, counted and written (default: 0.3)",
    )
    boxes.add_argument("--save-crops", action="store_true", help="cut each object out")
    boxes.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="detect in overlapping tiles of this side and merge what they find",
    )
    boxes.add_argument(
        "--overlap",
        type=float,
        metavar="SHARE",
        help="share of a tile that neighbours have in common (default: 0.2)",
    )
    maps = parser.add_argument_group("segmentation")
    arguments.add_opacity(maps, 0.5)
    arguments.add_no_legend(maps)
    arguments.add_no_fuse(parser, "run")
    arguments.add_cfg_options(parser)
    args = parser.parse_args(argv)
    args.exported = args.config = args.checkpoint = None
    words = args.model
    if words[0].lower().endswith((*EXPORTED, *SET_ASIDE)):
        args.exported, args.images = words[0], words[1:]
    else:
        args.config, args.checkpoint, args.images = split_model(words)
    if args.checkpoint:
        arguments.refuse_several_checkpoints(parser, words[1:])
    if not args.images:
        parser.error("give RUN IMAGE ..., CONFIG CHECKPOINT IMAGE ..., or FILE.onnx IMAGE ...")
    if args.exported:
        _refuse_torch_options(parser, args)
    return args


def _refuse_torch_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with an error where an option is about a model in torch."""
    given = {
        "--device": args.device,
        "--allow-partial": args.allow_partial,
        "--no-fuse": args.no_fuse,
        "--cfg-options": args.cfg_options,
    }
    for option, value in given.items():
        if value:
            parser.error(f"{option} is for CONFIG CHECKPOINT; {args.exported} is an exported file")


def main(argv: list[str] | None = None, prog: str = "mmattn predict") -> int:
    """Predict; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _predict(args))


def _predict(args: argparse.Namespace) -> None:
    from mmattn.errors import ConfigError
    from mmattn.inference import DetectionOptions, predict_with
    from mmattn.inference.sources import find_sources

    given = {
        "score_threshold": args.score_threshold,
        "save_crops": args.save_crops or None,
        "tile": args.tile,
        "overlap": args.overlap,
    }
    given = {key: value for key, value in given.items() if value is not None}
    if "overlap" in given and "tile" not in given:
        raise ConfigError("--overlap is that of tiles: give --tile PIXELS too")
    options = DetectionOptions(**given)
    find_sources(args.images)  # what is missing is named before the model is built
    predictor = _load(args)
    if given and predictor.result != "boxes":
        names = ", ".join("--" + key.replace("_", "-") for key in given)
        raise ConfigError(f"{names}: for detection alone, and this model segments images")
    written = predict_with(
        predictor,
        args.images,
        args.out,
        opacity=args.opacity,
        legend=not args.no_legend,
        detection=options,
        max_frames=args.max_frames,
        log=print,
    )
    written_as = {"boxes": "drawn image", "classes": "label map", "segments": "panoptic map"}
    what = written_as[predictor.result]
    print(f"{len(written)} {what}{'' if len(written) == 1 else 's'} in {args.out}")


def _load(args: argparse.Namespace):
    if args.exported:
        from mmattn.export import load_predictor

        return load_predictor(args.exported)
    from mmattn.config import load_config, parse_cfg_options
    from mmattn.inference import load_torch_predictor

    use_run(args)
    return load_torch_predictor(
        load_config(args.config, parse_cfg_options(args.cfg_options)),
        args.checkpoint,
        device=args.device,
        fuse=not args.no_fuse,
        allow_partial=args.allow_partial,
    )
