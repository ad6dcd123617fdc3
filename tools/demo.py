#!/usr/bin/env python
"""From nothing to a trained, tested, exported CCNet and a report, with the standard tools.

Example:
    python tools/demo.py              # writes work_dirs/demo/report.html: minutes on a CPU
    python tools/demo.py --quick      # the same steps with next to no training

Every command is printed as it is run and can be typed as it stands. Running it again reuses the
pictures and trains anew.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
CONFIG = "configs/ccnet/ccnet_r18-d8_1xb8-2k_shapes-96x128.py"
DATA = Path("work_dirs/demo/shapes")  # what the config names
SIZE = (96, 128)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work-dir", default=REPO / "work_dirs" / "demo", help="where everything goes"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few pictures and iterations: does it all run?"
    )
    return parser.parse_args(argv)


class Story:
    """Runs numbered steps and remembers them for the report."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.steps: list[tuple[str, str, float]] = []
        self._open: tuple[str, float] | None = None

    def step(self, title: str) -> None:
        """Begin the next step."""
        self.end()
        print(f"\n[{len(self.steps) + 1}/{self.total}] {title}", flush=True)
        self._open = (title, time.monotonic())
        self.command = ""

    def end(self) -> None:
        """Close the step that is open."""
        if self._open:
            title, start = self._open
            self.steps.append((title, self.command, time.monotonic() - start))
            self._open = None

    def run(self, *command: object) -> None:
        """Run a command of the repository; a failure ends the demo with its exit code."""
        words = [str(word) for word in command]
        self.command = shlex.join(["python", *words])
        print(f"$ {self.command}", flush=True)
        done = subprocess.run([sys.executable, *words])
        if done.returncode:
            print(f"\nThis step ended with code {done.returncode}; the demo stops here.")
            sys.exit(done.returncode)


def main(argv: list[str] | None = None) -> int:
    """The story."""
    args = parse_args(argv)
    out = Path(args.work_dir).resolve()
    out = out.relative_to(REPO) if out.is_relative_to(REPO) else out
    os.chdir(REPO)
    num_train, num_val = (16, 6) if args.quick else (1000, 100)
    data = out / ("shapes_quick" if args.quick else "shapes")
    options = []
    if data != DATA:
        options = [f"{s}_dataloader.dataset.data_root={data}" for s in ("train", "val", "test")]
    if args.quick:
        options += ["train_cfg.max_iters=4", "train_cfg.val_interval=2"]
        options += ["train_dataloader.batch_size=4"]

    # With tensors this small, more threads would wait for each other rather than compute.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    story = Story(total=7)
    print("mmattn demo: train, test, export and look at CCNet")
    print(f"everything goes to {out}/; OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}")

    story.step(f"Draw {num_train} training and {num_val} validation pictures")
    story.run(
        *("tools/make_shapes.py", data, "--num-train", num_train, "--num-val", num_val),
        *("--size", *SIZE, "--overwrite"),
    )

    story.step("Measure the untrained network, for comparison")
    import torch

    from mmattn.engine import build_model, load_config, parse_cfg_options
    from mmattn.export import OnnxSegmentor, class_ious
    from mmattn.export.accuracy import torch_predictor, validation_pairs
    from mmattn.visualization import environment

    facts = environment()
    for name, value in facts["backends"].items():
        print(f"  {name}: {value}")
    cfg = load_config(CONFIG, parse_cfg_options(options))
    torch.manual_seed(0)
    pairs = validation_pairs(cfg)
    untrained_model = build_model(cfg)
    classes = untrained_model.dataset_meta["classes"]
    untrained = class_ious(torch_predictor(untrained_model), pairs, classes)
    print(f"  mIoU of the untrained network: {untrained.mean:.2f} %")

    story.step("Train CCNet")
    options = ["--cfg-options", *options] if options else []
    story.run("tools/train.py", CONFIG, "--work-dir", out / "train", *options)
    checkpoint = out / "train" / (out / "train" / "last_checkpoint").read_text().strip()

    story.step("Test the checkpoint")
    story.run("tools/test.py", CONFIG, checkpoint, "--work-dir", out / "test", *options)

    story.step("Export it to ONNX and compare with torch at several sizes")
    onnx_file = out / "ccnet.onnx"
    story.run(
        *("tools/export.py", CONFIG, checkpoint, "--format", "onnx", "--out", onnx_file),
        *("--shape", *SIZE, "--dynamic", *options),
    )

    story.step("Run torch and the exported file on all validation pictures")
    model, segmentor = build_model(cfg, checkpoint), OnnxSegmentor(onnx_file)
    trained = class_ious(torch_predictor(model), pairs, classes)
    exported = class_ious(segmentor.predict, pairs, classes)
    print(f"  mIoU: untrained {untrained.mean:.2f} %, torch {trained.mean:.2f} %, ", end="")
    print(f"onnxruntime {exported.mean:.2f} %")

    story.step("Write the report")
    story.end()
    report = write_report(out, story, facts, model, segmentor, pairs, untrained, trained, exported)
    print(f"\nDone in {sum(seconds for *_, seconds in story.steps):.0f} s. Open {report}")
    return 0


def write_report(out, story, facts, model, segmentor, pairs, untrained, trained, exported) -> Path:
    """Gather what the steps left behind."""
    import json

    import torch

    from mmattn.export import ExportableSegmentor
    from mmattn.export.accuracy import torch_predictor
    from mmattn.visualization import SegmentationRun, complexity, write_segmentation_report
    from mmattn.visualization.segmentation_report import Sample, Step

    shape = (1, 3, *SIZE)
    parameters, flops = complexity(ExportableSegmentor(model).eval(), torch.zeros(shape))
    predict = torch_predictor(model)
    samples = [
        Sample(picture, truth, predict(picture), segmentor.predict(picture))
        for picture, truth in pairs[:6]
    ]
    run = SegmentationRun(
        title="CCNet, from generated pictures to an exported model",
        summary="A small CCNet was trained on generated scenes, tested, exported to ONNX and run "
        "in onnxruntime, by the commands listed below.",
        palette=segmentor.metadata.palette,
        untrained=untrained,
        trained=trained,
        exported=exported,
        num_pictures=len(pairs),
        scalars=sorted((out / "train").glob("*/vis_data/scalars.json"))[-1:],
        samples=samples,
        parity=json.loads((out / "parity.json").read_text()),
        parameters=parameters,
        flops=flops,
        input_shape=shape,
        file_bytes=(out / "ccnet.onnx").stat().st_size,
        steps=[Step(*step) for step in story.steps],
        environment=facts,
        notes=["Written by tools/demo.py."],
    )
    return write_segmentation_report(run, out / "report.html")


if __name__ == "__main__":
    sys.exit(main())
