"""The second half of tools/demo.py: a detector with CBAM on the same images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.reports.html import components as part
from mmattn.reports.overlays import data_uri

if TYPE_CHECKING:
    from demo_steps import DemoSteps

CONFIG = "configs/cbam/atss_r18-narrow-cbam_1xb8-500_shapes-128x96.py"
DATA = Path("work_dirs/demo/shapes")  # what the config names
#: Number of its steps.
STEPS = 5


def run_detector(demo: DemoSteps, out: Path, data: Path, *, quick: bool) -> dict[str, list[str]]:
    """Train, test, export and run a detector; everything goes to ``out``.

    Args:
        demo: Where the steps are announced and remembered.
        out: Folder of its files.
        data: The shapes dataset.
        quick: A few iterations alone.

    Returns:
        Title of a section -> its parts, for the report of the demo.
    """
    options = _options(data, quick)
    cfg_options = ["--cfg-options", *options] if options else []

    with demo.step("Train a detector: ATSS, with CBAM after each stage of its backbone"):
        demo.say("the same images, now with boxes; four validations")
        demo.run("tools/train.py", CONFIG, "--work-dir", out / "train", *cfg_options)
        checkpoint = out / "train" / (out / "train" / "last_checkpoint").read_text().strip()

    with demo.step("Test the detector"):
        demo.run("tools/test.py", CONFIG, checkpoint, "--work-dir", out / "test", *cfg_options)

    with demo.step("Export it to ONNX and compare its boxes with torch's"):
        onnx_file = out / "detector.onnx"
        where = ("--out", onnx_file, "--shape", 96, 128)
        demo.run("tools/export.py", CONFIG, checkpoint, *where, *cfg_options)

    with demo.step("Detect with the exported file"):
        found = out / "found"
        images = sorted((data / "images" / "val").iterdir())[:3]
        demo.run("tools/predict.py", onnx_file, *images, "--out", found)

    with demo.step("Write the detector's report"):
        run_config = out / "train" / Path(CONFIG).name
        exported = ("--exported", onnx_file)
        demo.run("tools/report.py", run_config, checkpoint, *exported, "--out", out, "--html")
    return {"A detector with an attention block": _section(out, found)}


def _options(data: Path, quick: bool) -> list[str]:
    from demo_steps import QUICK

    options = []
    if data != DATA:
        options += [f"{s}_dataloader.dataset.data_root={data}/" for s in ("train", "val", "test")]
        file = f"{data}/annotations/instances_val.json"
        options += [f"{split}_evaluator.ann_file={file}" for split in ("val", "test")]
    if quick:
        options += QUICK
    return options


def _section(out: Path, found: Path) -> list[str]:
    """Return a summary of the detector with a link to its own report."""
    import cv2

    numbers = json.loads((out / "detection_bbox.json").read_text(encoding="utf-8"))
    cards = [
        (name, f"{100 * (numbers['all'][name] or 0):.1f} %", f"{numbers['images']} images")
        for name in ("AP50", "AP")
    ]
    files = sorted(file for file in found.rglob("*") if file.suffix in (".jpg", ".png"))[:3]
    rows = [[data_uri(cv2.imread(str(file))[..., ::-1]) for file in files]]
    link = '<p><a href="detector/report.html">The detector\'s own report</a>: classes, curves, '
    link += "errors, worst images, the exported file against torch.</p>"
    return [
        part.cards(cards),
        part.Html(link),
        part.paragraph("Found by the exported file in onnxruntime:", muted=True),
        part.image_grid([file.stem for file in files], rows),
    ]
