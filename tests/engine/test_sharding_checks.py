"""Promise: what does not go together with a sharded model is named before anything is built."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmattn.engine.sharding.blocks import find_blocks
from mmattn.engine.sharding.checks import check_sharding, shard_model, test_unsharded
from mmattn.engine.sharding.model import FullyShardedModel
from mmattn.errors import ConfigError

SHARDED = {"type": "mmattn.FullyShardedModel"}
BASE = {
    "launcher": "pytorch",
    "model_wrapper_cfg": SHARDED,
    "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"launcher": "none"}, "give --launcher"),
        ({"model_wrapper_cfg.find_unused_parameters": True}, "find_unused_parameters"),
        ({"strategy": {"type": "DeepSpeedStrategy"}}, "ZeRO"),
        ({"compile": True}, "compiled model"),
        ({"custom_hooks": [{"type": "mmdet.EMAHook"}]}, "EMAHook"),
        ({"custom_hooks": [{"type": "ExpMomentumEMAHook"}]}, "ExpMomentumEMAHook"),
        ({"custom_hooks": [{"type": "mmattn.CompileHook"}]}, "CompileHook"),
        ({"optim_wrapper.optimizer.type": "ZeroRedundancyOptimizer"}, "shared out already"),
        ({"optim_wrapper": {"generator": {}, "discriminator": {}}}, "several optimizers"),
    ],
)
def test_what_contradicts_it_is_named(change: dict, said: str) -> None:
    cfg = Config(BASE)
    cfg.merge_from_dict(change)
    if "generator" in change.get("optim_wrapper", {}):
        cfg.optim_wrapper = change["optim_wrapper"]
    with pytest.raises(ConfigError, match=said):
        check_sharding(cfg)
    cfg.model_wrapper_cfg = None
    check_sharding(cfg)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optim_wrapper.type": "AmpOptimWrapper"},
        {"optim_wrapper.accumulative_counts": 4},
        {"find_unused_parameters": True},
        {"model_wrapper_cfg.min_parameters": 5},
    ],
)
def test_what_goes_together_with_it_passes(change: dict) -> None:
    cfg = Config(BASE)
    cfg.merge_from_dict(change)
    assert check_sharding(cfg) is cfg


def test_the_option_is_the_wrapper_and_refuses_another() -> None:
    assert shard_model(Config({})).model_wrapper_cfg == SHARDED
    kept = {**SHARDED, "min_parameters": 5}
    for given in (kept, {"min_parameters": 5}):
        assert shard_model(Config({"model_wrapper_cfg": given})).model_wrapper_cfg == kept
    with pytest.raises(ConfigError, match="--shard-model"):
        shard_model(Config({"model_wrapper_cfg": {"type": "MMDistributedDataParallel"}}))


def test_a_test_is_not_sharded() -> None:
    assert test_unsharded(Config(BASE)).model_wrapper_cfg is None
    other = {"type": "MMDistributedDataParallel"}
    assert test_unsharded(Config({"model_wrapper_cfg": other})).model_wrapper_cfg == other


def test_a_parameter_without_a_dimension_is_named() -> None:
    model = nn.Module()
    model.scale = nn.Parameter(torch.zeros(()))
    with pytest.raises(ConfigError, match=r"scale; make them of shape \(1,\)"):
        FullyShardedModel(model)


class Attention(nn.Module):
    """A block of a transformer, whose layers are a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4)
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.GELU()), nn.Linear(4, 4))


class Stage(nn.Module):
    """A stage as Swin's: blocks, and a layer between this stage and the next."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Attention(), Attention()])
        self.downsample = nn.Linear(4, 4)


def test_blocks_are_what_a_backbone_repeats() -> None:
    model = nn.Module()
    model.backbone = nn.Module()
    model.backbone.stages = nn.ModuleList([Stage(), Stage()])
    model.backbone.layer1 = nn.Sequential(Attention(), nn.ReLU(), nn.Linear(4, 4))
    model.head = nn.ModuleList([Attention(), Attention()])
    blocks = [*(f"backbone.stages.{i}.blocks.{k}" for i in (0, 1) for k in (0, 1)),
              "backbone.layer1.0"]  # fmt: skip
    assert find_blocks(model, 48) == blocks
    assert find_blocks(model, 49) == []
    model.head[0].norm = model.backbone.layer1[0].norm
    assert find_blocks(model, 48) == blocks[:-1], "it shares a weight with the head"
    assert find_blocks(model.head) == []
