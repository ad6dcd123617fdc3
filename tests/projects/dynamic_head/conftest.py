"""Dynamic Heads to test: one block with golden weights, and detectors under the authors' names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmattn.config import load_config
from mmattn.projects.dynamic_head import DynamicHeadBlock
from tests.support.golden_weights import golden_image, golden_value

# The authors' names inside one block, and ours.
NAMES = {
    "DyConv.0.conv": "spatial_conv_high.conv",
    "DyConv.0.bn": "spatial_conv_high.norm",
    "DyConv.1.conv": "spatial_conv_mid.conv",
    "DyConv.1.bn": "spatial_conv_mid.norm",
    "DyConv.2.conv": "spatial_conv_low.conv",
    "DyConv.2.bn": "spatial_conv_low.norm",
    "AttnConv.1": "scale_attn_module.1",
    "offset": "spatial_conv_offset",
    "relu.fc.0": "task_attn_module.conv1.conv",
    "relu.fc.2": "task_attn_module.conv2.conv",
}


@pytest.fixture(scope="session")
def golden_block() -> Callable[..., DynamicHeadBlock]:
    """A block of 32 channels whose weights follow from their official names and shapes."""

    def build(high_mode: str = "official") -> DynamicHeadBlock:
        block = DynamicHeadBlock(32, 32, bias=True, high_mode=high_mode)
        state = block.state_dict()
        for theirs, ours in NAMES.items():
            for entry in ("weight", "bias"):
                shape = state[f"{ours}.{entry}"].shape
                linear = theirs.startswith("relu.") and entry == "weight"
                value = golden_value(f"{theirs}.{entry}", shape[:2] if linear else shape)
                state[f"{ours}.{entry}"] = value.view(shape)
        block.load_state_dict(state)
        return block.eval()

    return build


@pytest.fixture(scope="session")
def golden_levels() -> list[Tensor]:
    sizes = {1.0: (8, 10), 0.5: (4, 5), 2.0: (2, 3)}
    return [scale * golden_image(2, 32, *size) for scale, size in sizes.items()]


@pytest.fixture
def pyramid() -> Callable[..., list[Tensor]]:
    """Random levels, sizes rounded up where they halve."""

    def draw(
        channels: int, size: tuple[int, int], count: int, batch: int = 2, **options
    ) -> list[Tensor]:
        generator = torch.Generator().manual_seed(1)
        levels = []
        for _ in range(count):
            x = torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)
            levels.append(x.to(**options) if options else x.float())
            size = (-(-size[0] // 2), -(-size[1] // 2))
        return levels

    return draw


@pytest.fixture(scope="session")
def build() -> Callable[..., nn.Module]:
    """Build the detector of a config, with changes of its model by dotted key."""
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    def detector(config: str, **changes: Any) -> nn.Module:
        cfg = load_config(config)
        cfg.merge_from_dict({f"model.{key}": value for key, value in changes.items()})
        cfg.model.backbone.init_cfg = None
        with DefaultScope.overwrite_default_scope("mmdet"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mmdet's own
            return MODELS.build(cfg.model)

    return detector
