"""Promise: the configs of configs/mask2former build, are of their task, and are listed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
import yaml

from mmattn.config import load_config
from mmattn.registry import MODELS
from mmattn.tasks import INSTANCE, PANOPTIC, SEMANTIC, task_of
from tests.conftest import REPO

FOLDER = REPO / "configs/mask2former"
TASKS = {"instance": INSTANCE, "panoptic": PANOPTIC, "semantic": SEMANTIC}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_configs_build_and_tell_where_from(path: Path) -> None:
    cfg = load_config(path)
    assert task_of(cfg) is next(task for name, task in TASKS.items() if name in path.stem)
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    head = model.decode_head if "semantic" in path.stem else model.panoptic_head
    assert head.num_classes == (6 if "instance" in path.stem else 10)
    header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert header is not None
    assert "arXiv:2112.01527" in header
    assert f"configs/mask2former/{path.name}" in header


@pytest.mark.parametrize("name", ["mask2former_r50", "mask2former_r50_semantic"])
def test_networks_have_the_published_size(name: str) -> None:
    """Of the panoptic network for COCO, and of the semantic one for ADE20K."""
    model = load_config(REPO / f"configs/_base_/models/{name}.py").model
    model.backbone.init_cfg = None
    with torch.device("meta"):
        network = MODELS.build(model)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == {"mask2former_r50": 44_036_998, "mask2former_r50_semantic": 44_041_367}[name]


def test_all_configs_are_listed() -> None:
    text = (FOLDER / "metafile.yml").read_text(encoding="utf-8")
    models = {model["Name"]: model["Config"] for model in yaml.safe_load(text)["Models"]}
    here = {file.stem: f"configs/mask2former/{file.name}" for file in FOLDER.glob("*.py")}
    assert models == here
    assert "configs/mask2former/metafile.yml" in (REPO / "model-index.yml").read_text()
