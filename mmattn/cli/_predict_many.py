"""What ``mmattn predict`` does with a great many images: its options, and the models it loads."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmattn.inference import DetectionOptions
    from mmattn.inference.many import ManyOptions, Shard
    from mmattn.inference.many.run import ShardResult


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for a great many images."""
    group = parser.add_argument_group("many images")
    group.add_argument(
        "--format",
        choices=("coco", "jsonl"),
        help="coco: detections.json or panoptic.json (default for boxes and panoptic maps); jsonl: "
        "results.jsonl, a line for each image (default for semantic segmentation)",
    )
    group.add_argument(
        "--recursive", action="store_true", help="take the images in sub-folders of folders too"
    )
    group.add_argument(
        "--processes", type=int, metavar="N", help="processes of this machine that share the images"
    )
    group.add_argument(
        "--shard",
        metavar="I/N",
        help="predict the I-th of N shares, 0/N to N-1/N (default: that of the process in torchrun "
        "or srun, else all)",
    )
    group.add_argument(
        "--merge",
        action="store_true",
        help="only make one file of the shards in --out; the last shard to end does so by itself",
    )
    group.add_argument(
        "--draw",
        action="store_true",
        help="draw the results over the images, whatever their number",
    )
    group.add_argument(
        "--strict", action="store_true", help="stop at the first image that cannot be read"
    )
    group.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="images of one size that go through the network together (default: 1)",
    )
    group.add_argument(
        "--readers",
        type=int,
        metavar="N",
        help="threads of a process that read images ahead (default: 2)",
    )


def is_asked_for(args: argparse.Namespace) -> bool:
    """Return whether an option, the launcher or the number of images asks for this."""
    from mmattn.errors import DataError
    from mmattn.inference.many import ManySources, launched_shard
    from mmattn.inference.many.options import DRAWN_AT_MOST

    options = (args.format, args.processes, args.shard, args.batch, args.readers)
    if any(value is not None for value in options) or args.recursive or args.strict or args.draw:
        return True
    try:
        sources = ManySources(args.images)
        return launched_shard() is not None or sources.more_than(DRAWN_AT_MOST)
    except DataError:
        return False  # a video, or what is wrong: what predicts few images knows both


def merge(out: str) -> None:
    """Make one file of the shards in ``out``, and say what is in it."""
    from mmattn.inference.many import merge_parts

    merged = merge_parts(Path(out))
    broken = f", and {merged.broken:,} could not be read" if merged.broken else ""
    print(f"{merged.images:,} images in {merged.path}{broken}")
    if not merged.complete:
        print("Not all shards are finished: their command goes on where it was stopped")


def predict(
    args: argparse.Namespace, detection: DetectionOptions, given: Mapping[str, Any]
) -> None:
    """Predict the images of this process's shard, and merge the shards if it is the last.

    Args:
        args: The command line.
        detection: What is kept of detections.
        given: The options of detection that were given.

    Raises:
        MMAttnError: As of ``predict_many``; a DataError also where no image could be read.
    """
    from mmattn.errors import ConfigError
    from mmattn.inference.many import ManyOptions, Shard, all_finished, launched_shard, read_shard
    from mmattn.inference.many.options import DRAWN_AT_MOST
    from mmattn.inference.many.shard import local_rank, processes_here

    if args.max_frames is not None:
        raise ConfigError("--max-frames is for a video or a camera, which is predicted by itself")
    options = ManyOptions(
        format=args.format,
        draw=args.draw,
        strict=args.strict,
        detection=detection,
        opacity=args.opacity,
        legend=not args.no_legend,
        batch=1 if args.batch is None else args.batch,
        readers=2 if args.readers is None else args.readers,
    )
    processes = 1 if args.processes is None else args.processes
    if processes < 1:
        raise ConfigError(f"--processes {processes}: give 1 or more")
    shard, first = Shard(), 0
    launched = launched_shard()
    if args.shard is not None:
        shard = read_shard(args.shard)
    elif launched is not None:
        shard, first = launched[0], local_rank() * processes
        print(f"Shard {shard}, as {launched[1]} says")
    if not args.draw:
        print(
            f"Nothing is drawn of more than {DRAWN_AT_MOST} images or with an option of many "
            "images; --draw draws all"
        )
    sharing = processes * (processes_here() if launched is not None else 1)
    model = Model.of(args, first=first, processes=sharing)
    result = _run(args, options, shard, model, processes, given)
    _say(args.out, result, complete=all_finished(Path(args.out)))


def _run(
    args: argparse.Namespace,
    options: ManyOptions,
    shard: Shard,
    model: Model,
    processes: int,
    given: Mapping[str, Any],
) -> ShardResult:
    from mmattn.inference.many import ManySources, predict_in_processes, predict_many

    sources = ManySources(args.images, recursive=args.recursive)
    sources.refuse_results_among_images(Path(args.out))
    try:
        if processes > 1:
            load = _Loader(model, dict(given))
            return predict_in_processes(
                load, args.images, args.out, options, processes=processes,
                recursive=args.recursive, shard=shard, log=print,
            )  # fmt: skip
        predictor, fingerprint = _Loader(model, dict(given))(0)
        if predictor.remark:
            print(predictor.remark)
        return predict_many(
            predictor, sources, args.out, options, shard=shard, model=fingerprint, log=print
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("finished images are kept, and the same command goes on") from None


def _say(out: str, result: ShardResult, *, complete: bool) -> None:
    from mmattn.errors import DataError

    total = result.images + result.before
    if result.broken:
        print(f"{result.broken:,} of {total:,} images could not be read: {result.first_broken}")
    if complete:
        merge(out)
    else:
        print(
            f"{total:,} images of this shard are finished. The last shard to end makes one file of "
            f"all; mmattn predict --merge --out {out} does so at any time"
        )
    if total and result.broken == total:
        raise DataError(f"none of {total:,} images could be read: {result.first_broken}")


def refuse_options_of_detection(given: Mapping[str, Any], predictor: Any) -> None:
    """Raise a ConfigError where options of detection were given for another task."""
    from mmattn.errors import ConfigError

    if given and predictor.result != "boxes":
        names = ", ".join("--" + key.replace("_", "-") for key in given)
        raise ConfigError(f"{names}: for detection alone, and this model segments images")


@dataclass(frozen=True)
class _Loader:
    """Loads the model of one process, and returns it with what identifies it."""

    model: Model
    given: dict[str, Any]

    def __call__(self, number: int) -> tuple[Any, str]:
        predictor = self.model.load(number)
        refuse_options_of_detection(self.given, predictor)
        return predictor, self.model.fingerprint()


@dataclass(frozen=True)
class Model:
    """The model that the command line names, in a form that processes can be sent.

    Attributes:
        exported: Exported file; None for a model in torch.
        config: Config of a model in torch.
        checkpoint: Its weights.
        cfg_options: Words of ``--cfg-options``.
        device: Device; None for a GPU if there is one.
        fuse: Whether the fused model is run.
        allow_partial: Whether a checkpoint may lack weights.
        first: Number, among the processes of this machine, of the first one that loads the model.
        processes: Number of processes of this machine that load it and share its cores.
    """

    exported: str | None
    config: str | None
    checkpoint: str | None
    cfg_options: list[str] | None
    device: str | None
    fuse: bool
    allow_partial: bool
    first: int = 0
    processes: int = 1

    @classmethod
    def of(cls, args: argparse.Namespace, *, first: int = 0, processes: int = 1) -> Model:
        """Return the model of a command line."""
        return cls(
            args.exported, args.config, args.checkpoint, args.cfg_options, args.device,
            not args.no_fuse, args.allow_partial, first, processes,
        )  # fmt: skip

    def load(self, number: int = 0) -> Any:
        """Return the predictor of the process ``number``.

        Several processes share the GPUs in turn, and the processor's cores evenly.
        """
        threads = max(1, _cores() // self.processes) if self.processes > 1 else 0
        if self.exported:
            from mmattn.export import load_predictor

            return load_predictor(self.exported, num_threads=threads)
        import torch

        from mmattn.config import load_config, parse_cfg_options
        from mmattn.inference import load_torch_predictor

        if threads:
            torch.set_num_threads(threads)
        device, number = self.device, self.first + number
        if device is None and number and torch.cuda.is_available():
            device = f"cuda:{number % torch.cuda.device_count()}"
        return load_torch_predictor(
            load_config(str(self.config), parse_cfg_options(self.cfg_options)),
            str(self.checkpoint),
            device=device,
            fuse=self.fuse,
            allow_partial=self.allow_partial,
        )

    def fingerprint(self) -> str:
        """Return a digest of the weights and the config."""
        if self.exported:
            file = Path(self.exported)
            beside = file.with_suffix(".bin")
            return _digest(file, *([beside] if file.suffix == ".xml" else []))
        from mmattn.config import load_config, parse_cfg_options

        cfg = load_config(str(self.config), parse_cfg_options(self.cfg_options))
        of_config = hashlib.sha256(repr(cfg.to_dict()).encode()).hexdigest()[:16]
        return f"{_digest(Path(str(self.checkpoint)))}-{of_config}"


def _digest(*files: Path) -> str:
    from mmattn.io.file_digest import file_sha256

    return file_sha256(*files)[:16]


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
