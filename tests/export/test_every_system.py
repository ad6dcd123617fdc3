"""Promise: detectors with Dynamic Head, and networks with any block, become files of any size.

The other systems have files of their own: ``tests/projects``, ``test_onnx_export.py``,
``test_detection_heads.py``.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmattn.export import check_parity, export_onnx
from mmattn.inference import build_model
from tests.support.small_detectors import as_if_trained
from tests.support.systems import BLOCKS, SYSTEMS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # mmdet's and the exporter's own
]


def config_of(system: str) -> Config:
    scope, model = SYSTEMS[system]()
    return Config({"default_scope": scope, "model": model})


@pytest.mark.parametrize("head", ["ATSS of mmdet", "RetinaNet", "FCOS"])
def test_dynamic_head(head: str, tmp_path: Path) -> None:
    cfg = config_of(f"Dynamic Head, {head}")
    cfg.model.data_preprocessor.pad_size_divisor = 32  # other sizes than multiples of 128
    torch.manual_seed(0)
    model = as_if_trained(build_model(cfg))
    coarse = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), np.uint8)
    images = [cv2.resize(image, (160, 128)) for image in coarse]
    export_onnx(model, tmp_path / "m.onnx", shape=(128, 128), dynamic=True)
    report = check_parity(model, tmp_path / "m.onnx", images)
    assert len(report.rows) == 5 and report.passed
    assert all(row.results for row in report.rows), report.table()


@pytest.mark.parametrize("block", BLOCKS)
def test_block(block: str, build, images, tmp_path: Path) -> None:
    model = build(config_of(f"{block} in UPerNet"))
    export_onnx(model, tmp_path / "m.onnx", shape=(64, 96), dynamic=True)
    report = check_parity(model, tmp_path / "m.onnx", images)
    assert len(report.rows) == 5 and report.passed
    assert all(row.max_logit > 0.1 for row in report.rows), report.table()
