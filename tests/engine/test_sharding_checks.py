"""Promise: what does not go together with a sharded model is named before anything is built."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from torch import nn

from mmattn.engine.sharding.checks import check_sharding, shard_model
from mmattn.engine.sharding.model import find_blocks
from mmattn.errors import ConfigError

BASE = {
    "launcher": "pytorch",
    "model_wrapper_cfg": {"type": "mmattn.FullyShardedModel"},
    "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}},
}
BFLOAT16 = {"type": "AmpOptimWrapper", "dtype": "bfloat16", "loss_scale": 1.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"launcher": "none"}, "give --launcher"),
        ({"strategy": {"type": "DeepSpeedStrategy"}}, "ZeRO"),
        ({"compile": True}, "compiled model"),
        ({"custom_hooks": [{"type": "mmdet.EMAHook"}]}, "EMAHook"),
        ({"custom_hooks": [{"type": "ExpMomentumEMAHook"}]}, "ExpMomentumEMAHook"),
        ({"optim_wrapper.accumulative_counts": 4}, "accumulative_counts"),
        ({"optim_wrapper.type": "AmpOptimWrapper"}, "bfloat16"),
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


def test_what_goes_together_with_it_passes() -> None:
    for change in ({}, {"optim_wrapper": BFLOAT16}):
        cfg = Config(BASE)
        cfg.merge_from_dict(change)
        check_sharding(cfg)


def test_the_option_is_the_wrapper_and_refuses_another() -> None:
    assert shard_model(Config({})).model_wrapper_cfg.type == "mmattn.FullyShardedModel"
    kept = {"type": "mmattn.FullyShardedModel", "min_parameters": 5}
    assert shard_model(Config({"model_wrapper_cfg": kept})).model_wrapper_cfg == kept
    with pytest.raises(ConfigError, match="--shard-model"):
        shard_model(Config({"model_wrapper_cfg": {"type": "MMDistributedDataParallel"}}))


def test_blocks_are_the_outermost_members_of_lists_without_shared_weights() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(4, 4)
            self.layer = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.ReLU())
            self.stages = nn.ModuleList([nn.ModuleList([nn.Linear(4, 4)]), nn.Linear(2, 2)])
            self.heads = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
            self.heads[1].weight = self.stem.weight

    named = dict(find_blocks(Model(), 10))
    assert list(named) == ["layer.0", "stages.0.0", "heads.0"]
