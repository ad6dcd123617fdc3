#!/usr/bin/env python
"""Export a trained model and prove that the file computes what torch computes.

Examples:
    python tools/export.py CONFIG CHECKPOINT --format onnx --out model.onnx --dynamic
    python tools/export.py CONFIG CHECKPOINT --out model.onnx --shape 512 1024
    python tools/export.py CONFIG CHECKPOINT --out model.onnx --images street.jpg more_images/
    python tools/export.py CONFIG CHECKPOINT --format openvino --out model.xml --dynamic

The file takes float32 RGB images in 0..255, (N, 3, H, W); normalisation is inside the graph. The
check runs torch and onnxruntime on real images (--images, else the config's validation set),
writes parity.json beside the file and ends with exit code 7 above the limits. --format openvino
writes model.xml and model.bin from a model.onnx beside them and checks both in their runtimes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config: a path, or mmattn::, mmseg:: and a name")
    parser.add_argument("checkpoint", help="weights of that config's model")
    parser.add_argument("--format", default="onnx", help="onnx (default) or openvino")
    parser.add_argument("--out", type=Path, help="file to write (default: beside the checkpoint)")
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
        "--no-fuse",
        action="store_true",
        help="export the model as it was trained, not its inference form (norms folded, …)",
    )
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="go on with a checkpoint that leaves weights of the model random",
    )
    parser.add_argument("--opset", type=int, default=18, help="ONNX opset (default: 18)")
    parser.add_argument(
        "--images", nargs="+", metavar="PATH", help="images or folders for the check"
    )
    parser.add_argument(
        "--num-images", type=int, default=4, help="how many images are checked (default: 4)"
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
        help="largest difference of logits, relative to the largest logit (default: 1e-4)",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=0.999,
        help="smallest share of pixels with the same class (default: 0.999)",
    )
    parser.add_argument(
        "--parity",
        type=Path,
        help="where the check's figures go (default: parity.json beside --out)",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="override settings of the config",
    )
    args = parser.parse_args(argv)
    if args.check_size and not args.dynamic:
        parser.error("--check-size needs --dynamic: a file of one size takes no other")
    return args


def default_shape(cfg) -> tuple[int, int]:
    """What the model was trained on: the data preprocessor's size or the crop, else 512 x 512."""
    size = (cfg.model.get("data_preprocessor") or {}).get("size") or cfg.get("crop_size")
    if isinstance(size, int):
        size = (size, size)
    return tuple(size) if size else (512, 512)


def file_to_write(args: argparse.Namespace, suffix: str) -> Path:
    """``--out``, or the checkpoint's name with the format's ending.

    Raises:
        ExportError: ``--out`` is called as if it were of another format.
    """
    from mmattn.errors import ExportError

    out = args.out or Path(args.checkpoint).with_suffix(suffix)
    if (out.suffix == ".xml") != (suffix == ".xml"):
        raise ExportError(f"--out {out}: a file of --format {args.format} is called *{suffix}")
    return out


def export(args: argparse.Namespace) -> None:
    """Export, check, report."""
    from mmattn.export import find_format

    # Refuse before anything heavy is imported.
    format = find_format(args.format)
    out = file_to_write(args, format.suffix)
    onnx_file = out.with_suffix(".onnx") if format.name == "openvino" else out

    from mmattn.config import load_config, parse_cfg_options
    from mmattn.export import check_parity, export_onnx, read_images, validation_images
    from mmattn.inference import build_model
    from mmattn.layers.fuse import fuse

    cfg = load_config(args.config, parse_cfg_options(args.cfg_options))
    if args.images:
        images = read_images(args.images, limit=args.num_images)
    else:
        images = validation_images(cfg, limit=args.num_images)
    model = build_model(cfg, args.checkpoint, allow_partial=args.allow_partial)
    shape = tuple(args.shape) if args.shape else default_shape(cfg)

    print(f"exporting {type(model).__name__} at {shape[0]} x {shape[1]} …", flush=True)
    metadata = export_onnx(
        model if args.no_fuse else fuse(model),
        onnx_file,
        shape=shape,
        dynamic=args.dynamic,
        output="classes" if args.argmax else "logits",
        opset=args.opset,
        config=Path(args.config).name,
        checkpoint=Path(args.checkpoint).name,
    )
    print(f"wrote {onnx_file} ({mib(onnx_file)}, opset {metadata.opset})", flush=True)
    converted = []
    if format.name == "openvino":
        from mmattn.export import convert_to_openvino

        convert_to_openvino(onnx_file, out)
        weights = out.with_suffix(".bin")
        print(f"wrote {out} ({mib(out)}) and {weights} ({mib(weights)})", flush=True)
        converted.append(out)
    parity = args.parity or out.with_name("parity.json")
    report = check_parity(
        model,
        onnx_file,
        images,
        tolerance=args.tolerance,
        min_agreement=args.min_agreement,
        json_path=parity,
        converted=converted,
        sizes=args.check_size,
    )
    for one in report.files:
        print(f"torch against {one.runtime}:\n{one.table()}")
    print(f"wrote {parity}")


def mib(path: Path) -> str:
    """A file's size in words."""
    return f"{path.stat().st_size / 2**20:.1f} MiB"


def main(argv: list[str] | None = None) -> int:
    """Run the tool; bad input ends with its error's exit code and one message."""
    args = parse_args(argv)
    import mmattn  # noqa: F401  (turns the bridge on)
    from mmattn.errors import MMAttnError

    try:
        export(args)
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
