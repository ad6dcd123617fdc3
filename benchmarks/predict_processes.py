"""Images a second of ``mmattn predict`` over many images, against the number of its processes.

A small segmentor (the network of tests: an FCN on a narrow ResNet-18, random weights) labels drawn
images. Each row is one run of the command into an empty folder; the time is from its start to its
end, so that it has the imports and the loading of the models in it, and a second figure is without:
from the first finished image to the last, over all processes.

    python benchmarks/predict_processes.py --processes 1 2 --images 400
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import as_line, machine

from mmattn.tables import markdown_table

CONFIG = """
default_scope = 'mmseg'
model = dict(type='EncoderDecoder', train_cfg=dict(), test_cfg=dict(mode='whole'),
    data_preprocessor=dict(type='SegDataPreProcessor', bgr_to_rgb=True, mean=[0.0] * 3,
        std=[255.0] * 3),
    backbone=dict(type='ResNet', depth=18, base_channels=16, stem_channels=16),
    decode_head=dict(type='FCNHead', in_channels=128, in_index=3, channels=32, num_convs=1,
        num_classes=10))
test_dataloader = dict(dataset=dict(type='mmattn.FolderSegDataset', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='mmattn.LoadFolderMask'),
    dict(type='PackSegInputs')]))
"""


def main(argv: list[str] | None = None) -> int:
    """Draw, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=1, help="runs of each; the fastest counts")
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        command = prepare(root, args.images, tuple(args.size))
        rows: dict[int, dict[str, float]] = {}
        for number in range(args.rounds):
            for processes in args.processes:
                row = measure(command, root / f"{number}-{processes}", processes)
                best = rows.get(processes)
                rows[processes] = row if best is None or row["all_s"] < best["all_s"] else best
    what = f"{args.images} images of {args.size[0]} x {args.size[1]}, {args.rounds} round(s)"
    table = markdown_table(
        ["processes", "images/s, whole command", "images/s, without start"],
        [
            [count, f"{args.images / row['all_s']:.1f}", f"{args.images / row['predicting_s']:.1f}"]
            for count, row in rows.items()
        ],
        align="rrr",
    )
    print(f"{as_line(machine('cpu'))}\n{what}\n\n{table}")
    if args.output:
        content = {"machine": machine("cpu"), "input": what, "rows": rows}
        args.output.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
        args.output.with_suffix(".md").write_text(f"{as_line(machine('cpu'))}\n{what}\n\n{table}\n")
    return 0


def prepare(root: Path, images: int, size: tuple[int, int]) -> list[str]:
    """Write config, weights and images; return the words of the command but for its options."""
    import cv2
    import numpy as np
    import torch

    from mmattn.config import load_config
    from mmattn.inference import build_model

    config = root / "small.py"
    config.write_text(CONFIG)
    torch.manual_seed(0)
    torch.save({"state_dict": build_model(load_config(config)).state_dict()}, root / "small.pth")
    (root / "images").mkdir()
    rng = np.random.default_rng(0)
    for index in range(images):
        coarse = rng.integers(0, 256, (size[0] // 8, size[1] // 8, 3), np.uint8)
        cv2.imwrite(str(root / f"images/{index:06d}.jpg"), cv2.resize(coarse, size[::-1]))
    return [str(config), str(root / "small.pth"), str(root / "images")]


def measure(command: list[str], out: Path, processes: int) -> dict[str, float]:
    """Run the command; return seconds in all, and from the first result to the last."""
    options = ["--out", str(out), "--format", "jsonl", "--processes", str(processes)]
    begun = time.time()
    subprocess.run(
        [sys.executable, "-m", "mmattn", "predict", *command, *options],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    ended = time.time()
    written = sorted(path.stat().st_mtime for path in out.glob("*.png"))
    return {"all_s": ended - begun, "predicting_s": written[-1] - written[0]}


if __name__ == "__main__":
    sys.exit(main())
