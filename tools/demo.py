#!/usr/bin/env python
"""From nothing to a trained, tested, exported segmentor and detector, with the standard tools.

The segmentor is CCNet, the detector a small ATSS with CBAM in its backbone; both learn generated
images, and a report shows what they see.

Example:
    python tools/demo.py          # writes work_dirs/demo/report.html: 3 to 5 minutes on two cores
    python tools/demo.py --quick  # the same steps with next to no training

Every command is printed as it is run and can be typed as it stands. Running the demo again draws
the same images and trains anew. Each validation saves a checkpoint and an image of predictions,
whose path it prints.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
CONFIG = "configs/ccnet/ccnet_r18-d4_1xb8-600_shapes-96x128.py"
DATA = Path("work_dirs/demo/shapes")  # what the config names
SIZE = (96, 128)
QUICK_TITLE = " (quick check, hardly trained)"
QUICK_SUMMARY = (
    " This was a quick check that every step runs: 4 iterations on 16 images. Its scores say "
    "nothing about the network; python tools/demo.py trains it."
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        default=REPO / "work_dirs" / "demo",
        help="where everything goes (default: work_dirs/demo)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few images and iterations: does it all run?"
    )
    return parser.parse_args(argv)


def run_demo(out: Path, *, quick: bool) -> Path:
    """Run all steps; everything goes to ``out``. Returns the report."""
    from demo_detector import STEPS as DETECTOR_STEPS
    from demo_detector import run_detector
    from demo_steps import QUICK, DemoSteps

    num_train, num_val = (16, 6) if quick else (600, 60)
    data = out / ("shapes_quick" if quick else "shapes")
    options = []
    if data != DATA:
        options += [f"{s}_dataloader.dataset.data_root={data}" for s in ("train", "val", "test")]
    if quick:
        options += QUICK
    cfg_options = ["--cfg-options", *options] if options else []
    demo = DemoSteps(total=7 + DETECTOR_STEPS, log=partial(print, flush=True))

    with demo.step(f"Draw {num_train} training and {num_val} validation images"):
        counts = ("--num-train", num_train, "--num-val", num_val)
        demo.run("tools/data.py", "shapes", data, *counts, "--size", *SIZE, "--overwrite")

    with demo.step("Measure the untrained network, for comparison"):
        import torch

        from mmattn.config import load_config, parse_cfg_options
        from mmattn.environment import collect_env
        from mmattn.export import (
            class_ious,
            exported_predictor,
            load_exported,
            torch_predictor,
            validation_pairs,
        )
        from mmattn.inference import build_model

        environment = collect_env()
        for name, value in environment["backends"].items():
            demo.say(f"{name}: {value}")
        cfg = load_config(CONFIG, parse_cfg_options(options))
        pairs = validation_pairs(cfg)
        torch.manual_seed(0)
        model = build_model(cfg)
        classes = model.dataset_meta["classes"]
        untrained = class_ious(torch_predictor(model), pairs, classes)
        demo.say(f"mIoU of the untrained network: {untrained.mean:.2f} %")

    with demo.step("Train CCNet"):
        if not quick:
            demo.say("about half of the whole time; five validations, the first after a fifth")
        demo.say("each validation leaves a checkpoint and an image: Look at .../worst_val.png")
        demo.run("tools/train.py", CONFIG, "--work-dir", out / "train", *cfg_options)
        checkpoint = out / "train" / (out / "train" / "last_checkpoint").read_text().strip()

    with demo.step("Test the checkpoint"):
        demo.run("tools/test.py", CONFIG, checkpoint, "--work-dir", out / "test", *cfg_options)

    with demo.step("Export it to ONNX and compare with torch at several sizes"):
        onnx_file = out / "ccnet.onnx"
        how = ("--format", "onnx", "--out", onnx_file, "--shape", *SIZE, "--dynamic")
        demo.run("tools/export.py", CONFIG, checkpoint, *how, *cfg_options)

    with demo.step("Run torch and the exported file on all validation images"):
        model, segmentor = build_model(cfg, checkpoint), load_exported(onnx_file)
        trained = class_ious(torch_predictor(model), pairs, classes)
        exported = class_ious(exported_predictor(segmentor, model), pairs, classes)
        demo.say(f"mIoU untrained:   {untrained.mean:6.2f} %")
        demo.say(f"mIoU torch:       {trained.mean:6.2f} %")
        demo.say(f"mIoU onnxruntime: {exported.mean:6.2f} %")

    detector = run_detector(demo, out / "detector", data, quick=quick)

    with demo.step("Write the report"):
        from mmattn.complexity import complexity
        from mmattn.export import SemanticExport
        from mmattn.export.checked_files import parity_path
        from mmattn.reports import SegmentationRun, write_html_report
        from mmattn.reports.run import ModelSize
        from mmattn.reports.semantic.run import Sample

        shape = (1, 3, *SIZE)
        note = QUICK_SUMMARY if quick else ""
        parameters, flops = complexity(SemanticExport(model).eval(), torch.zeros(shape))
        predict, predict_exported = torch_predictor(model), exported_predictor(segmentor, model)
        run = SegmentationRun(
            title="From generated images to exported models" + QUICK_TITLE * quick,
            summary="A small CCNet and a detector with CBAM learnt generated scenes. Both were "
            f"tested, exported to ONNX and run in onnxruntime by the commands below.{note}",
            palette=segmentor.metadata.palette,
            untrained=untrained,
            trained=trained,
            exported=exported,
            num_images=len(pairs),
            scalars=sorted((out / "train").glob("*/vis_data/scalars.json"))[-1:],
            samples=[
                Sample(image.read_pixels(), truth, predict(image), predict_exported(image))
                for image, truth in pairs[:6]
            ],
            parity=json.loads(parity_path(onnx_file).read_text()),
            size=ModelSize(parameters, flops, shape),
            file_bytes=onnx_file.stat().st_size,
            steps=demo.steps,
            environment=environment,
            notes=[f"Written by tools/demo.py{' --quick' if quick else ''}."],
        )
        report = write_html_report(run, out / "report.html", more=detector)
    print(f"\nDone in {demo.seconds:.0f} s. Open {report}")
    return report


def main(argv: list[str] | None = None) -> int:
    """Run the demo; bad input or a failed step ends it with its exit code."""
    args = parse_args(argv)
    out = Path(args.work_dir).resolve()
    out = out.relative_to(REPO) if out.is_relative_to(REPO) else out
    os.chdir(REPO)
    # With tensors this small, more threads wait for each other rather than compute.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from demo_steps import StepFailed, Terminated, raise_on_termination

    raise_on_termination()

    import mmattn  # noqa: F401  (turns the bridge on)
    from mmattn.errors import MMAttnError

    print("mmattn demo: train, test, export and look at a segmentor and a detector")
    if args.quick:
        print("takes about a minute on two cores: a quick check with hardly any training")
    else:
        print("takes 3 to 5 minutes on two cores")
    print(f"everything goes to {out}/; OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}")
    try:
        run_demo(out, quick=args.quick)
    except (MMAttnError, StepFailed) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except Terminated as end:
        print(f"\nEnded by {end.signal_name}; the step that ran was ended too.", file=sys.stderr)
        return end.code
    except KeyboardInterrupt:
        print("\nInterrupted. make demo starts again from the first step.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
