#!/usr/bin/env python
"""Write down a segmentation run: table, curves and images, small enough to be committed.

Example:
    python tools/report.py configs/ccnet/ccnet_mobilenetv2_1xb8-1k_camvid-180x240.py \\
        work_dirs/ccnet_mobilenetv2_1xb8-1k_camvid-180x240/iter_1000.pth \\
        --onnx work_dirs/ccnet_camvid/ccnet_camvid.onnx --out docs/results/ccnet_camvid \\
        --maps-only

Measured anew on the validation set, in torch and in onnxruntime: nothing is copied from a log but
the curves and the training time.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("checkpoint", help="in the folder of its run, whose curves are taken")
    parser.add_argument("--onnx", required=True, help="the exported file, with parity.json beside")
    parser.add_argument("--out", required=True, type=Path, help="the folder to write")
    parser.add_argument("--num-images", type=int, default=4, help="how many images to show")
    parser.add_argument(
        "--maps-only",
        action="store_true",
        help="show predictions alone, for a dataset whose images may not be passed on",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure, draw, write."""
    args = parse_args(argv)
    import mmattn.export  # noqa: F401  (turns the bridge on)
    from mmattn.errors import MMAttnError

    try:
        write(args)
    except MMAttnError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    print(f"wrote {args.out / 'README.md'}")
    return 0


def write(args: argparse.Namespace) -> None:
    """The page and its images."""
    from mmattn.config import load_config
    from mmattn.environment import environment
    from mmattn.export import class_ious, load_exported
    from mmattn.export.accuracy import torch_predictor, validation_pairs
    from mmattn.inference import build_model

    cfg = load_config(args.config)
    model, segmentor = build_model(cfg, args.checkpoint), load_exported(args.onnx)
    pairs = validation_pairs(cfg)
    classes = model.dataset_meta["classes"]
    predict = torch_predictor(model)
    trained = class_ious(predict, pairs, classes)
    exported = class_ious(segmentor.predict, pairs, classes)

    args.out.mkdir(parents=True, exist_ok=True)
    draw(args.out / "predictions.jpg", pairs, predict, segmentor, args.num_images, args.maps_only)
    run = sorted(Path(args.checkpoint).parent.glob("*/vis_data/scalars.json"))[-1].parent
    for curve in ("loss", "metrics"):
        shutil.copy(run / f"curves_{curve}.png", args.out)
    parity = Path(args.onnx).with_name("parity.json")
    shutil.copy(parity, args.out)
    text = page(args, run, trained, exported, len(pairs), json.loads(parity.read_text()))
    (args.out / "README.md").write_text(text + facts(environment()), encoding="utf-8")


def draw(path: Path, pairs: list, predict, segmentor, count: int, maps_only: bool = False) -> None:
    """Rows of image, ground truth, torch, onnxruntime; the images are spread evenly."""
    import cv2
    import numpy as np

    from mmattn.reports.overlays import blend, colour_map, complete_palette

    palette = complete_palette(segmentor.metadata.palette, len(segmentor.metadata.classes))
    rows = []
    for index in np.linspace(0, len(pairs) - 1, count).round().astype(int):
        image, truth = pairs[index]
        maps = (truth, predict(image), segmentor.predict(image))
        if maps_only:
            rows.append(np.hstack([colour_map(classes, palette) for classes in maps[1:]]))
        else:
            blended = (blend(image, classes, palette) for classes in maps)
            rows.append(np.hstack([image, *blended]))
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def page(args: argparse.Namespace, run: Path, trained, exported, count: int, parity: dict) -> str:
    """The Markdown but for the machine's facts."""
    from mmattn.compare.runs import run_minutes

    lines = [f"# {Path(args.config).stem}", "", "Written by", "", "```bash"]
    lines += [f"python tools/train.py {args.config}"]
    traced = parity["rows"][0]
    shape = f"--shape {traced['height']} {traced['width']} --dynamic"
    lines += [f"python tools/export.py {args.config} {args.checkpoint} --out {args.onnx} {shape}"]
    lines += ["python " + shlex.join(["tools/report.py", *sys.argv[1:]]), "```", ""]
    lines += [f"Training took {run_minutes(run):.0f} minutes, validations included.", ""]
    lines += [f"## IoU per class, %, on {count} validation images", ""]
    lines += ["| class | torch | onnxruntime |", "| --- | --- | --- |"]
    rows = [*zip(trained.classes, trained.ious, exported.ious, strict=True)]
    rows.append(("**mean**", trained.mean, exported.mean))
    lines += [f"| {name} | {a:.2f} | {b:.2f} |" for name, a, b in rows]
    lines += ["", f"{trained.pixel_accuracy:.2f} % of the labelled pixels are right.", ""]
    columns = "torch, onnxruntime" if args.maps_only else "image, ground truth, torch, onnxruntime"
    lines += ["## Images", "", f"From left to right: {columns}."]
    lines += ["", "![predictions](predictions.jpg)", "", "## Training", ""]
    lines += ["![loss](curves_loss.png)", "![validation](curves_metrics.png)", ""]
    lines += ["## The exported file against torch", ""]
    lines += ["| input | largest difference of logits | relative | same class |"]
    lines += ["| --- | --- | --- | --- |"]
    for row in parity["rows"]:
        size = f"{row['batch']} x 3 x {row['height']} x {row['width']} ({row['name']})"
        difference, relative = row["max_difference"], row["relative"]
        same = f"{100 * row['agreement']:.4f} %"
        lines.append(f"| {size} | {difference:.1e} | {relative:.1e} | {same} |")
    return "\n".join(lines)


def facts(environment: dict) -> str:
    """Machine, versions and commit."""
    git = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, cwd=Path(__file__).parent)
    lines = ["", "", "## Where", "", f"- commit: {commit.stdout.strip() or 'unknown'}"]
    for table in environment.values():
        lines += [f"- {name}: {value}" for name, value in table.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
