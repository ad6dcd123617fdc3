"""Promise: the configs of configs/yolov12 have the published networks, and say where from."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
import yaml

from mmattn.config import load_config
from mmattn.projects.yolov12 import AreaAttention
from mmattn.registry import MODELS
from tests.conftest import REPO

FOLDER = REPO / "configs/yolov12"
CONFIGS = sorted(FOLDER.glob("yolov12-*_coco.py"))
# Without the 16 bins of a distance, which the published files count.
PARAMETERS = {
    "yolov12-n": 2_553_904,
    "yolov12-s": 9_127_424,
    "yolov12-m": 19_670_784,
    "yolov12-l": 26_506_496,
    "yolov12-x": 59_414_176,
    "yolov12-v1-n": 2_602_288,
    "yolov12-v1-s": 9_284_096,
    "yolov12-v1-m": 20_199_168,
    "yolov12-v1-l": 26_450_784,
    "yolov12-v1-x": 59_210_784,
}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_is_one_of_every_network() -> None:
    assert {path.stem for path in CONFIGS} == {f"{name}_8xb32-600e_coco" for name in PARAMETERS}


def test_model_is_the_published_one(path: Path) -> None:
    cfg = load_config(path)
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count + 16 == PARAMETERS[path.stem.split("_")[0]]
    blocks = [module for module in model.modules() if isinstance(module, AreaAttention)]
    assert len(blocks) == (16 if path.stem.split("_")[0][-1] in "lx" else 8)
    assert model.bbox_head.test_cfg == {
        "score_thr": 0.001,
        "nms_pre": 30_000,
        "nms": {"type": "nms", "iou_threshold": 0.7},
        "max_per_img": 300,
    }


def test_images_are_scaled_to_one_and_padded_grey(path: Path) -> None:
    cfg = load_config(path).model.data_preprocessor
    assert (cfg.mean, cfg.std, cfg.bgr_to_rgb) == ([0.0] * 3, [255.0] * 3, True)
    assert cfg.pad_value * 255 == pytest.approx(114)
    assert cfg.pad_size_divisor == 32


def test_header_tells_paper_and_command(path: Path) -> None:
    header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert header is not None
    assert "arXiv:2502.12524" in header
    assert f"configs/yolov12/{path.name}" in header
    assert "eproduced" in header
    assert f"{PARAMETERS[path.stem.split('_')[0]]:,}" in header


def test_all_configs_are_listed() -> None:
    text = (FOLDER / "metafile.yml").read_text(encoding="utf-8")
    models = {model["Name"]: model["Config"] for model in yaml.safe_load(text)["Models"]}
    here = {file.stem: f"configs/yolov12/{file.name}" for file in FOLDER.glob("*.py")}
    assert models == here
    assert "configs/yolov12/metafile.yml" in (REPO / "model-index.yml").read_text(encoding="utf-8")
