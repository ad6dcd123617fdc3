"""Promise: docs/evaluate_panoptic.md works as it stands; its commands are run on generated data.

The network is an eighth as wide, the images are few and small, and one epoch stands for twelve.
``-m slow`` runs the commands; the options and columns are always compared with the code.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import shlex
from pathlib import Path

import pytest

from mmattn.cli.main import main
from mmattn.evaluation import ClasswiseCocoMetric, ClasswisePanopticMetric
from mmattn.reports.panoptic.numbers import MEANINGS
from tests.support.code_blocks import read_code_blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs/evaluate_panoptic.md"
BLOCKS = read_code_blocks(GUIDE)
#: Settings of the training; what it leaves as its config has them.
NARROW = [
    "model.backbone.depth=18",
    "model.backbone.base_channels=8",
    "model.backbone.stem_channels=8",
    "model.backbone.init_cfg=None",
    "model.neck.in_channels=[8,16,32,64]",
    "model.neck.out_channels=16",
    "model.rpn_head.in_channels=16",
    "model.rpn_head.feat_channels=16",
    "model.roi_head.bbox_roi_extractor.out_channels=16",
    "model.roi_head.mask_roi_extractor.out_channels=16",
    "model.roi_head.bbox_head.in_channels=16",
    "model.roi_head.bbox_head.fc_out_channels=32",
    "model.roi_head.mask_head.in_channels=16",
    "model.roi_head.mask_head.conv_out_channels=16",
    "model.roi_head.mask_head.num_convs=1",
    "model.semantic_head.in_channels=16",
    "model.semantic_head.inner_channels=32",
    "model.test_cfg.rpn.nms_pre=50",
    "model.test_cfg.rpn.max_per_img=20",
    "train_dataloader.dataset.pipeline.2.scale=(96,96)",
    "val_dataloader.dataset.pipeline.1.scale=(96,96)",
    "test_dataloader.dataset.pipeline.1.scale=(96,96)",
    "train_cfg.max_epochs=1",
    *(
        f"{split}_dataloader.{key}"
        for split in ("train", "val", "test")
        for key in ("num_workers=0", "persistent_workers=False")
    ),
]


def run(words: list[str], *options: str) -> str:
    """What a command prints, run in this process, with further settings of the config."""
    program, *rest = words
    assert program == "mmattn"
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        code = main([*rest, *options])
    assert not code, f"{shlex.join(words)}\n{shown.getvalue()}"
    return shown.getvalue()


@pytest.mark.slow  # by default, tests/engine/test_panoptic_run.py does the like
def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "raiseExceptions", False)  # loggers whose output is captured
    (block,) = [block for block in BLOCKS if block.language == "bash"]
    text = block.code.replace("epoch_12", "epoch_1").replace("192 256", "72 96")
    text = text.replace("--num-train 200 --num-val 40", "--num-train 4 --num-val 2")
    make, train, test, report = (shlex.split(line) for line in text.strip().splitlines())
    run(make)
    run(train, *NARROW)
    assert (tmp_path / "work_dirs/panoptic/epoch_1.pth").is_file()
    run(test)
    predicted = tmp_path / "work_dirs/panoptic/predicted"
    assert (predicted / "predictions.panoptic.json").is_file()
    assert len(list((predicted / "predictions.panoptic").glob("*.png"))) == 2
    run(report)
    folder = tmp_path / "work_dirs/panoptic/report"
    for name in ("README.md", "report.html", "panoptic.json", "worst_panoptic.jpg"):
        assert (folder / name).is_file()
    (plots,) = (tmp_path / "work_dirs/panoptic").glob("*/vis_data/panoptic_val.json")
    for name in re.findall(r"`(\w+_val\.\w+)`", GUIDE.read_text()):
        assert (plots.parent / name).is_file(), name


def test_options_and_columns_are_those_of_the_code() -> None:
    text = GUIDE.read_text()
    for block in (b for b in BLOCKS if b.language == "python"):
        values: dict = {}
        exec(block.code, values)
        evaluator = values["val_evaluator"]
        metrics = {"ClasswisePanopticMetric": ClasswisePanopticMetric,
                   "ClasswiseCocoMetric": ClasswiseCocoMetric}  # fmt: skip
        metric = metrics[evaluator.pop("type").rpartition(".")[2]]
        known = inspect.signature(metric).parameters
        assert set(evaluator) <= set(known)
        if metric is ClasswisePanopticMetric:
            for option in set(evaluator) - {"ann_file", "seg_prefix"}:
                assert known[option].default == evaluator[option], option
    for column in MEANINGS:
        assert f"`{column}`" in text, column
