"""YOLOv12s to test: of the published sizes, and two with weights that no draw decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmdet.models import SingleStageDetector
from torch import Tensor, nn

from mmattn.config import load_config
from mmattn.io.convert import convert_checkpoint
from mmattn.registry import MODELS
from tests.conftest import REPO
from tests.support.golden_weights import golden_value

OFFICIAL = "yolov12-official"


def config_of(scale: str, version: str) -> str:
    """The config of a published network."""
    name = f"yolov12-{'v1-' if version == 'v1.0' else ''}{scale}_8xb32-600e_coco.py"
    return str(REPO / "configs/yolov12" / name)


def detector(scale: str = "n", version: str = "turbo", **options: Any) -> SingleStageDetector:
    """A published network; ``options`` are config options, such as ``backbone__qk_norm``."""
    cfg = load_config(config_of(scale, version))
    changes = {f"model.{key.replace('__', '.')}": value for key, value in options.items()}
    cfg.merge_from_dict(changes)
    model = MODELS.build(cfg.model)
    assert isinstance(model, SingleStageDetector)
    return model


def official_state(model: nn.Module) -> dict[str, Tensor]:
    """The golden weights of ``model`` under the authors' names."""
    state = convert_checkpoint(model.state_dict(), OFFICIAL, reverse=True).state_dict
    counted = (".num_batches_tracked", ".dfl.conv.weight")
    return {
        key: value if key.endswith(counted) else golden_value(key, value.shape)
        for key, value in state.items()
    }


def filled(model: SingleStageDetector) -> SingleStageDetector:
    """``model`` with golden weights that came through the converter, in eval mode."""
    model.load_state_dict(convert_checkpoint(official_state(model)).state_dict, strict=True)
    return model.eval()


@pytest.fixture(scope="session")
def build() -> Callable[..., SingleStageDetector]:
    return detector


@pytest.fixture(scope="session")
def build_meta() -> Callable[..., SingleStageDetector]:
    """``build`` without memory for the weights."""

    def on_meta(*args: Any, **options: Any) -> SingleStageDetector:
        with torch.device("meta"):
            return detector(*args, **options)

    return on_meta


@pytest.fixture(scope="session")
def config_path() -> Callable[[str, str], str]:
    return config_of


@pytest.fixture(scope="session")
def golden_state() -> Callable[[nn.Module], dict[str, Tensor]]:
    return official_state


@pytest.fixture(scope="session")
def golden() -> dict[str, SingleStageDetector]:
    """YOLOv12-N with golden weights, by version."""
    return {version: filled(detector("n", version)) for version in ("turbo", "v1.0")}
