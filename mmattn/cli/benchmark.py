"""``mmattn benchmark``: parameters, operations, time and memory of models, or speed of the data."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError

from . import _arguments as arguments
from ._run import run

if TYPE_CHECKING:
    from mmattn.compare.benchmark import Contender, Measurement
    from mmattn.compare.loader_speed import PipelineSpeed

EXAMPLES = """\
%(prog)s ccnet --size 256 256
%(prog)s work_dirs/NAME model.onnx --size 512 512 --threads 2
%(prog)s rtmdet_tiny_8xb32-300e_coco yolov12-n_8xb32-600e_coco --size 640 640 --batch 4
%(prog)s yolov12-n --data --num 100 data=my_boxes
"""
NOTES = """\
Contenders take turns in one process, a call each per round; the time is the median of the rounds,
with its interval (95%%, by bootstrap). A call takes images of noise to the results of a test:
normalisation, network, NMS. A config has random weights, the folder of a run its own. Operations
are those of one image, 2 for each multiply-add, of convolutions, matrix products and attention;
parameters and operations are those before layers are fused. The memory is what torch's allocator
hands out in a call, above the weights. --data measures the training pipeline in one process.
"""
_EXPORTED = (".onnx", ".xml")


def parse_args(argv: list[str] | None = None, prog: str = "mmattn benchmark") -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog,
        "Measure parameters, operations, time and memory of models side by side, or the speed of a "
        "config's data.",
        EXAMPLES,
        NOTES,
    )
    parser.add_argument(
        "contenders",
        nargs="+",
        metavar="MODEL",
        help="a config, a name of mmattn models, the folder of a run, or an exported file",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="height and width of the images (default: that of an exported file of one size, else "
        "512 512)",
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at a time (1)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads on the CPU (default: torch's own number)"
    )
    parser.add_argument(
        "--rounds", type=int, default=30, metavar="N", help="calls of each contender (default: 30)"
    )
    parser.add_argument("--device", default="cpu", help="device of models: cpu (default), cuda, …")
    arguments.add_no_fuse(parser, "measure")
    parser.add_argument(
        "--data",
        action="store_true",
        help="measure the pipeline of the config's data instead: images per second and the time of "
        "each step",
    )
    parser.add_argument(
        "--num", type=int, default=50, metavar="N", help="images of --data (default: 50)"
    )
    parser.add_argument("--json", metavar="FILE", help="write all of it, every round too, as JSON")
    arguments.add_cfg_options(parser)
    args = parser.parse_args(argv)
    for name in ("batch", "threads", "rounds", "num"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} {getattr(args, name)}: must be at least 1")
    if args.size and min(args.size) < 1:
        parser.error(f"--size {args.size[0]} {args.size[1]}: both must be at least 1")
    _refuse_ignored(parser, args)
    return args


def _refuse_ignored(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with an error where an option would change nothing."""
    files = [word for word in args.contenders if word.lower().endswith(_EXPORTED)]
    if args.data:
        unused = ("size", "batch", "threads", "rounds", "device", "no_fuse")
        if len(args.contenders) > 1 or files:
            parser.error("--data measures the data of one config")
    else:
        unused = ("num",)
    given = [n.replace("_", "-") for n in unused if getattr(args, n) != parser.get_default(n)]
    if given:
        use = "--data" if args.data else "a benchmark of models"
        parser.error(f"{use} takes no --{', no --'.join(given)}")
    if len(files) < len(args.contenders):
        return
    of_configs = {
        "settings are": args.cfg_options,
        "--device is": args.device != parser.get_default("device"),
        "--no-fuse is": args.no_fuse,
    }
    for option, is_given in of_configs.items():
        if is_given:
            parser.error(f"{option} for configs; {files[0]} is an exported file")


def main(argv: list[str] | None = None, prog: str = "mmattn benchmark") -> int:
    """Measure and print; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _data(args) if args.data else _models(args))


def _models(args: argparse.Namespace) -> None:
    from mmattn.compare.benchmark import measure_contenders
    from mmattn.quiet import quiet

    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    size = _size(args)
    with quiet("mmengine", hide_warnings=True):
        contenders = [_contender(word, args, size) for word in args.contenders]
        measured = measure_contenders(
            contenders, batch=args.batch, rounds=args.rounds, device=args.device
        )
    images = f"{args.batch} image{'s' * (args.batch != 1)} of {size[0]} x {size[1]} at a time"
    threads = f"{_threads()} thread{'s' * (_threads() != 1)}"
    where = f"{args.device}, {threads}, {args.rounds} rounds"
    print(f"{images}; {where}\n\n{_table(measured)}")
    _write(args, [one.to_dict() for one in measured], {"size": size, "batch": args.batch})


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _size(args: argparse.Namespace) -> tuple[int, int]:
    """Return the size that is asked for, else that of a file which takes no other."""
    if args.size:
        return tuple(args.size)
    from mmattn.export.session import open_session

    for word in args.contenders:
        if word.lower().endswith(_EXPORTED):
            metadata = open_session(word).metadata
            if not metadata.dynamic:
                return tuple(metadata.shape)
    return 512, 512


def _contender(word: str, args: argparse.Namespace, size: tuple[int, int]) -> Contender:
    from mmattn.compare.benchmark import file_contender, model_contender
    from mmattn.config import find_config, find_run, load_config, parse_cfg_options
    from mmattn.config.run_folders import is_run

    if word.lower().endswith(_EXPORTED):
        return file_contender(word, size=size, batch=args.batch, threads=_threads())
    checkpoint = None
    if is_run(word):
        found = find_run(word)
        print(found.told)
        word, checkpoint = str(found.config), str(found.checkpoint)
    cfg = load_config(word, parse_cfg_options(args.cfg_options))
    return model_contender(
        find_config(word).stem,
        cfg,
        checkpoint,
        size=size,
        batch=args.batch,
        device=args.device,
        fuse=not args.no_fuse,
    )


def _table(measured: list[Measurement]) -> str:
    from mmattn.tables import text_table

    head = ("model", "parameters", "GFLOPs", "ms", "95%", "images/s", "memory", "runtime")
    rows = [
        (
            one.name,
            "" if one.parameters is None else f"{one.parameters / 1e6:.2f} M",
            "" if one.flops is None else f"{one.flops / 1e9:.2f}",
            f"{one.seconds * 1e3:.1f}",
            f"{one.interval[0] * 1e3:.1f} to {one.interval[1] * 1e3:.1f}",
            f"{one.images_per_second:.1f}",
            "" if one.peak_memory is None else f"{one.peak_memory / 2**20:.0f} MiB",
            one.runtime,
        )
        for one in measured
    ]
    return text_table(head, rows, align="lrrrrrrl")


def _data(args: argparse.Namespace) -> None:
    from mmattn.compare.loader_speed import measure_pipeline
    from mmattn.config import load_config, parse_cfg_options

    cfg = load_config(args.contenders[0], parse_cfg_options(args.cfg_options))
    speed = measure_pipeline(cfg, images=args.num)
    print(_pipeline_table(speed))
    steps = [vars(step) for step in speed.steps]
    _write(args, steps, {"images": speed.images, "seconds": speed.seconds})


def _pipeline_table(speed: PipelineSpeed) -> str:
    from mmattn.tables import text_table

    inside = sum(step.seconds for step in speed.steps)
    rows = [(step.name, step.calls, step.seconds) for step in speed.steps]
    rows.append(("(besides)", speed.images, speed.seconds - inside))
    shown = [
        (name, calls, f"{1e3 * s / speed.images:.2f}", f"{100 * s / speed.seconds:.1f}")
        for name, calls, s in rows
    ]
    head = ("step", "calls", "ms per image", "% of the time")
    rate = speed.images / speed.seconds
    return (
        f"{speed.images} images in {speed.seconds:.2f} s: {rate:.1f} images/s in one process, of "
        f"{os.cpu_count()} cores\n\n{text_table(head, shown, align='lrrr')}"
    )


def _write(args: argparse.Namespace, found: list[dict[str, Any]], more: dict[str, Any]) -> None:
    if not args.json:
        return
    from mmattn.environment import collect_env
    from mmattn.io import atomic_write

    content = {**more, "measured": found, "environment": collect_env()}
    try:
        with atomic_write(args.json, "w") as file:
            json.dump(content, file, indent=1)
    except OSError as error:
        raise ConfigError(f"--json {args.json}: cannot be written: {error.strerror}") from error
