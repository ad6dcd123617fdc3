"""Promise: of upstream's Mask2Former with Swin-L, each of two processes holds half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmattn.config import load_config
from mmattn.engine.sharding.model import FullyShardedModel
from mmattn.inference.model import build_model
from tests.support.forked_ranks import run_group

CONFIG = "mmdet::mask2former/mask2former_swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic.py"


@pytest.mark.slow
def test_each_process_holds_half_of_it(tmp_path: Path) -> None:
    model = build_model(load_config(CONFIG, {}))

    def rank() -> dict[str, Any]:
        sharded = FullyShardedModel(model)
        parts: list[Any] = list(sharded.parameters())
        blocks = [model.get_submodule(name) for name in sharded.blocks]
        return {
            "all": sum(p.numel() for p in parts),
            "held": sum(p.to_local().untyped_storage().nbytes() // 4 for p in parts),
            "backbone": sum(p.numel() for p in model.backbone.parameters()),
            "in_blocks": sum(p.numel() for block in blocks for p in block.parameters()),
            "blocks": len(blocks),
        }

    for found in run_group(rank, tmp_path):
        assert found["blocks"] == 24
        assert found["in_blocks"] / found["backbone"] == pytest.approx(0.97, abs=0.005)
        assert found["all"] == 215_535_610
        assert found["held"] / found["all"] == pytest.approx(0.5, abs=1e-4)
