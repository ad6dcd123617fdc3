"""Promise: mmdet and mmseg work whether they are imported before mmattn or after it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import mmcv.ops
import pytest

from mmattn.bridge.late_operators import restore_operators

EARLY = """
try:
    from mmcv.ops.gone import batched_nms
except ImportError:
    def batched_nms(*args):
        raise RuntimeError('batched_nms requires mmcv to be compiled with ops')
try:
    from mmcv.ops import nms as own_nms
except ImportError:
    own_nms = None
try:
    from mmcv.ops import of_another_version
except ImportError:
    of_another_version = None
try:
    from mmcv.ops.not_there import something
except ImportError:
    something = None
"""
PREDICT = """
import {first}
import mmattn, torch
from mmattn.config import load_config
from mmattn.inference import build_model
from mmdet.structures import DetDataSample

model = build_model(load_config('mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'))
model.bbox_head.test_cfg.score_thr = 0.0
meta = dict(img_shape=(64, 96), ori_shape=(64, 96), scale_factor=(1.0, 1.0), pad_shape=(64, 96))
batch = dict(inputs=[torch.zeros(3, 64, 96, dtype=torch.uint8)],
             data_samples=[DetDataSample(metainfo=meta)])
print('found', len(model.test_step(batch)[0].pred_instances))
"""


def test_placeholders_become_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another module has taken the placeholder over."""
    file = tmp_path / "early.py"
    file.write_text(EARLY)
    spec = importlib.util.spec_from_file_location("mmdet.early", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    file.write_text(EARLY.replace("mmcv.ops.gone", "mmcv.ops"))  # as if it had been missing
    module.own_nms = None
    other = importlib.util.module_from_spec(importlib.util.spec_from_loader("mine", loader=None))
    other.batched_nms = module.batched_nms
    monkeypatch.setitem(sys.modules, "mmdet.early", module)
    monkeypatch.setitem(sys.modules, "mine", other)
    if not restore_operators():
        pytest.skip("mmcv's own extension is compiled here")
    assert module.batched_nms is other.batched_nms is mmcv.ops.batched_nms
    assert module.own_nms is mmcv.ops.nms
    assert module.of_another_version is module.something is None, "mmcv has none, and stays so"
    assert restore_operators() == [], "nothing is left to do"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["mmdet.apis", "mmseg.apis", "mmengine.runner"])
def test_a_detector_predicts_whatever_came_first(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREDICT.format(first=first)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "found 100" in done.stdout
