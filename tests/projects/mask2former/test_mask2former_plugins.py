"""Promise: blocks go into Mask2Former's backbone and pixel decoder, as configs and ``--at`` say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from torch import nn

from mmattn.compare.places import parse_places, with_block
from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.projects.blocks.cbam import CBAM
from mmattn.registry import MODELS
from mmattn.tasks import INSTANCE, task_of
from tests.conftest import REPO

CONFIG = REPO / "configs/mask2former/mask2former_r18_1xb4-20e_shapes-instance-256x192.py"
PLACES = ["backbone", "backbone.layer2.*.conv2", "panoptic_head.pixel_decoder.output_convs.*"]
BLOCKS = {
    "backbone": 4,
    "backbone.layer2.*.conv2": 2,
    "panoptic_head.pixel_decoder.output_convs.*": 1,
}


def build(places: list[str], block: str = "CBAM") -> nn.Module:
    cfg = load_config(CONFIG)
    enter_scope(cfg)
    cfg.model.backbone.init_cfg = None
    model = with_block(cfg.model, {"type": f"mmattn.{block}"}, parse_places(places, cfg))
    assert task_of({**cfg, "model": model}) is INSTANCE
    return MODELS.build(ConfigDict(model))


@pytest.mark.parametrize("place", PLACES)
def test_blocks_are_reached_and_learn(place: str) -> None:
    torch.manual_seed(0)
    model = build([place])
    blocks = [module for module in model.modules() if isinstance(module, CBAM)]
    assert len(blocks) == BLOCKS[place]
    classes, masks = model.panoptic_head(model.extract_feat(torch.randn(2, 3, 64, 96)))
    (classes.square().mean() + masks.square().mean()).backward()
    for block in blocks:
        gradients = [p.grad for p in block.parameters()]
        assert all(g is not None for g in gradients)
        assert any(g.abs().sum() > 0 for g in gradients if g is not None)


def test_weights_keep_their_names() -> None:
    """So that checkpoints of a network without blocks fit."""
    cfg = load_config(CONFIG)
    enter_scope(cfg)
    plain = set(MODELS.build(cfg.model).state_dict())
    more = {key for key in build(PLACES).state_dict() if ".plugins." not in key}
    assert plain == more


@pytest.mark.parametrize("block", ["ECA", "SE", "CrissCrossAttention", "CoordAtt"])
def test_other_blocks_in_the_pixel_decoder(block: str) -> None:
    model: Any = build(["panoptic_head.pixel_decoder.lateral_convs.*"], block).eval()
    with torch.no_grad():
        classes, masks = model.panoptic_head(model.extract_feat(torch.randn(1, 3, 64, 64)))
    assert classes.shape == (1, 20, 7)
    assert masks.shape == (1, 20, 16, 16)
