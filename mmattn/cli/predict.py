"""``mmattn predict``: detect objects or segment images, with a model or an exported file."""

from __future__ import annotations

import argparse
import os

from . import _arguments as arguments
from . import _predict_many as many
from ._parser import WEIGHTS
from ._run import run
from ._run_folder import split_model, use_run

EXAMPLES = """\
%(prog)s work_dirs/NAME photos --out found
%(prog)s model.onnx photos street.mp4 'more/**/*.jpg' --out found --save-crops
%(prog)s CONFIG CHECKPOINT large.tif --out found --tile 640 --overlap 0.2
%(prog)s CONFIG CHECKPOINT 0 --out found --max-frames 100
%(prog)s ccnet_r50-d8_4xb2-80k_cityscapes-512x1024 street.jpg --out found
%(prog)s model.onnx million --out found --recursive --processes 8
srun %(prog)s CONFIG CHECKPOINT million --out found --format jsonl
"""
NOTES = """\
Instead of CONFIG and CHECKPOINT the folder of a run can be given, whose best checkpoint is taken,
else the last; a name of mmattn weights list, whose config is known and whose weights are fetched;
or one exported file, .onnx or .xml.

Detection: for each image the folder gets STEM_boxes.jpg; detections.json holds all detections in
COCO's format, in pixels of the stored images; --save-crops adds crops/CLASS/STEM_NUMBER.jpg.
Segmentation: for each image STEM.png, a label map (8 bits, 16 for more than 256 classes), and
STEM_overlay.jpg; classes.json lists the classes by index. Panoptic segmentation: STEM.png is the
map in COCO's form, and panoptic.json lists the segments of all images. A video becomes
STEM_boxes.mp4 or STEM_overlay.mp4; a number is a camera. A training leaves its config and its
checkpoints in work_dirs/NAME, where NAME is the config's.

Of more than 1000 images, or with an option of the group "many images", nothing is drawn without
--draw; each result is written as it comes, and the same command goes on where it was stopped.
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
        nargs="*",
        metavar="MODEL",
        help="the folder of a run, CONFIG CHECKPOINT, a name of weights, or one exported file, "
        ".onnx or .xml; then "
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
    many.add_options(parser)
    arguments.add_no_fuse(parser, "run")
    arguments.add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.merge:
        if args.model:
            parser.error("--merge makes one file of what is in --out; leave the model out")
        _refuse_beside_merge(parser, args)
        return args
    if not args.model:
        parser.error("give CONFIG CHECKPOINT IMAGE ..., or FILE.onnx IMAGE ...")
    args.exported = args.config = args.checkpoint = None
    words = args.model
    if words[0].lower().endswith((*EXPORTED, *SET_ASIDE)):
        args.exported, args.images = words[0], words[1:]
    elif named := _config_of_name(parser, words):
        args.config, args.checkpoint, args.images = named, words[0], words[1:]
    else:
        args.config, args.checkpoint, args.images = split_model(words)
    if args.checkpoint and args.checkpoint != words[0]:
        arguments.refuse_several_checkpoints(parser, words[1:])
    if not args.images:
        if "/" in words[0] and "::" not in words[0] and not os.path.exists(words[0]):
            from mmattn.inference.missing import missing_part

            parser.error(f"{words[0]}: no such run or file; {missing_part(words[0])}")
        parser.error("give RUN IMAGE ..., CONFIG CHECKPOINT IMAGE ..., or FILE.onnx IMAGE ...")
    if args.exported:
        _refuse_torch_options(parser, args)
    return args


def _config_of_name(parser: argparse.ArgumentParser, words: list[str]) -> str | None:
    """Return the config of weights that are asked for by name; None for a config's own path."""
    word, *rest = words
    if word.endswith((".py", ".yml", ".yaml", ".json")):
        return None
    from mmattn.errors import MMAttnError
    from mmattn.weights import entry_name, find_entry

    try:
        name = entry_name(word)
        entry = None if name is None else find_entry(name)
    except MMAttnError as error:
        parser.error(str(error))
    # A config may have the same name; then its checkpoint follows.
    if entry is None or (word == name and _is_checkpoint(rest[:1])):
        return None
    if entry.config is None:
        parser.error(f"{word} are weights of a backbone or a block: give CONFIG before them")
    return entry.config


def _is_checkpoint(words: list[str]) -> bool:
    from mmattn.weights import entry_name

    return any(word.lower().endswith(WEIGHTS) or entry_name(word) is not None for word in words)


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


def _refuse_beside_merge(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with an error where an option would change nothing beside --merge."""
    for action in arguments.options_of(parser):
        name = action.dest
        if name in ("help", "out", "merge") or getattr(args, name) == parser.get_default(name):
            continue
        parser.error(f"{action.option_strings[0]} changes nothing of --merge: leave it out")


def main(argv: list[str] | None = None, prog: str = "mmattn predict") -> int:
    """Predict; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _predict(args))


def _predict(args: argparse.Namespace) -> None:
    from mmattn.errors import ConfigError
    from mmattn.inference import DetectionOptions, predict_with
    from mmattn.inference.sources import find_sources

    if args.merge:
        many.merge(args.out)
        return
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
    if not args.exported:
        _find_weights(args)
    if many.is_asked_for(args):
        many.predict(args, options, given)
        return
    find_sources(args.images)  # what is missing is named before the model is built
    predictor = many.Model.of(args).load()
    many.refuse_options_of_detection(given, predictor)
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
    videos = sum(str(path).endswith(".mp4") for path in written)
    counts = {written_as[predictor.result]: len(written) - videos, "video": videos}
    told = [f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items() if n]
    print(f"{' and '.join(told) or 'nothing'} in {args.out}")


def _find_weights(args: argparse.Namespace) -> None:
    """Put the files of a run, and those of weights given by name, in the place of both."""
    from mmattn.weights.local import local_checkpoint

    use_run(args)
    args.checkpoint = local_checkpoint(args.checkpoint, print)
