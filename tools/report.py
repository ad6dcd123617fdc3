#!/usr/bin/env python
"""Write down a segmentation run: table, curves and predictions, small enough to be committed.

Example:
    python tools/report.py configs/ccnet/ccnet_mobilenetv2_1xb8-1k_camvid-180x240.py \\
        work_dirs/ccnet_mobilenetv2_1xb8-1k_camvid-180x240/iter_1000.pth \\
        --onnx work_dirs/ccnet_camvid/ccnet_camvid.onnx --out docs/results/ccnet_camvid \\
        --maps-only

Accuracy is measured anew on the validation set, in torch and, with --onnx, in onnxruntime. The
curves and the training time come from the run's folder, the parity from the export's parity.json.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("checkpoint", help="in the folder of its run, whose curves are taken")
    parser.add_argument("--onnx", help="exported file, with parity.json beside it, if there is one")
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    parser.add_argument("--num-images", type=int, default=4, help="how many images to show")
    parser.add_argument(
        "--maps-only",
        action="store_true",
        help="show predictions alone, for a dataset whose images may not be passed on",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure the run and write its report."""
    args = parse_args(argv)
    import mmattn.export  # noqa: F401  (turns the bridge on)
    from mmattn.errors import MMAttnError

    try:
        page = report(args)
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    print(f"wrote {page}")
    return 0


def report(args: argparse.Namespace) -> Path:
    """Measure the run and write its report; returns the page."""
    import json

    import numpy as np

    from mmattn.compare.runs import run_minutes
    from mmattn.config import load_config
    from mmattn.environment import collect_env
    from mmattn.export import class_ious, load_exported, torch_predictor, validation_pairs
    from mmattn.inference import build_model
    from mmattn.reports import SegmentationRun, write_markdown_report
    from mmattn.reports.semantic.run import Sample

    cfg = load_config(args.config)
    model, pairs = build_model(cfg, args.checkpoint), validation_pairs(cfg)
    classes, palette = (model.dataset_meta.get(key) or () for key in ("classes", "palette"))
    predict = torch_predictor(model)
    exported, parity, predict_exported = None, None, None
    if args.onnx:
        predict_exported = load_exported(args.onnx).predict
        exported = class_ious(predict_exported, pairs, classes)
        parity = json.loads(Path(args.onnx).with_name("parity.json").read_text(encoding="utf-8"))
    samples = []
    for index in np.linspace(0, len(pairs) - 1, args.num_images).round().astype(int):
        image, truth = pairs[index]
        answer = None if predict_exported is None else predict_exported(image)
        samples.append(Sample(image, truth, predict(image), answer))
    scalars = sorted(Path(args.checkpoint).parent.glob("*/vis_data/scalars.json"))[-1:]
    logger = cfg.get("default_hooks", {}).get("logger") or {}
    run = SegmentationRun(
        title=Path(args.config).stem,
        trained=class_ious(predict, pairs, classes),
        palette=palette,
        num_images=len(pairs),
        exported=exported,
        scalars=scalars,
        validation_axis="epoch" if logger.get("log_metric_by_epoch", True) else "iteration",
        training_minutes=run_minutes(scalars[0].parent) if scalars else None,
        samples=samples,
        parity=parity,
        steps=commands(args, parity),
        environment=collect_env(),
    )
    return write_markdown_report(run, args.out, maps_only=args.maps_only)


def commands(args: argparse.Namespace, parity: dict | None) -> list:
    """List the commands that lead to the report."""
    from mmattn.reports.semantic.run import Step

    steps = [Step("Train", f"python tools/train.py {args.config}")]
    if parity is not None:
        traced = parity["rows"][0]
        shape = f"--shape {traced['height']} {traced['width']}"
        shape += " --dynamic" if parity["dynamic"] else ""
        command = f"python tools/export.py {args.config} {args.checkpoint} --out {args.onnx}"
        steps.append(Step("Export", f"{command} {shape}"))
    steps.append(Step("Report", "python " + shlex.join(["tools/report.py", *sys.argv[1:]])))
    return steps


if __name__ == "__main__":
    sys.exit(main())
