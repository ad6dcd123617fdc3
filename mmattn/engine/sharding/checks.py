"""What does not go together with a sharded model is refused before anything is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError
from mmattn.type_names import bare_name

if TYPE_CHECKING:
    from mmengine.config import Config

NAME = "FullyShardedModel"


def shard_model(cfg: Config) -> Config:
    """Write the sharded model as the wrapper of a config, as ``--shard-model`` asks for.

    Raises:
        ConfigError: The config has another wrapper.
    """
    wrapper = cfg.get("model_wrapper_cfg") or {}
    if wrapper and not is_sharded(cfg):
        raise ConfigError(
            f"--shard-model: {cfg.filename} has model_wrapper_cfg={dict(wrapper)}, which wraps the "
            "model otherwise; leave one of the two out"
        )
    cfg.model_wrapper_cfg = {"type": f"mmattn.{NAME}", **wrapper}
    return cfg


def is_sharded(cfg: Config) -> bool:
    """Return whether a config shards its model."""
    return bare_name((cfg.get("model_wrapper_cfg") or {}).get("type")) == NAME


def check_sharding(cfg: Config) -> Config:
    """Return a config in which nothing contradicts the sharding of its model.

    Raises:
        ConfigError: The processes, or something else in it, do not go with a sharded model.
    """
    problems = list(_problems(cfg)) if is_sharded(cfg) else []
    if problems:
        listed = "\n  ".join(problems)
        raise ConfigError(f"{cfg.filename}: the model cannot be sharded:\n  {listed}")
    return cfg


def _problems(cfg: Config) -> Iterator[str]:
    if cfg.launcher == "none":
        yield "it takes several processes: give --launcher, or leave --shard-model out"
    if "runner_type" in cfg or cfg.get("strategy"):
        yield "runner_type and strategy (ZeRO, DeepSpeed, ...) share the model out by themselves"
    if cfg.get("compile"):
        yield "compile: a compiled model is not tested with sharding; leave it out"
    if cfg.get("sync_bn"):
        yield "sync_bn: give the norm layers of the config as SyncBN instead"
    for hook in [*(cfg.get("custom_hooks") or ()), *(cfg.get("default_hooks") or {}).values()]:
        name = bare_name((hook or {}).get("type")) or ""
        if "EMA" in name:
            yield f"{name}: it copies the model, which a sharded one does not allow; leave it out"
        if name == "CompileHook":
            yield "CompileHook: a compiled model is not tested with sharding; leave it out"
    yield from _problems_of_optimizer(cfg.get("optim_wrapper") or {})


def _problems_of_optimizer(wrapper: Any) -> Iterator[str]:
    if wrapper.get("accumulative_counts", 1) != 1:
        yield "accumulative_counts: gradients of several batches cannot be kept; give 1"
    if (bare_name(wrapper.get("type")) or "") == "AmpOptimWrapper" and (
        wrapper.get("dtype") != "bfloat16" or wrapper.get("loss_scale") not in (None, 1.0)
    ):
        yield "mixed precision: give optim_wrapper dtype='bfloat16', loss_scale=1.0"
    optimizer = bare_name((wrapper.get("optimizer") or {}).get("type")) or ""
    if optimizer == "ZeroRedundancyOptimizer":
        yield "ZeroRedundancyOptimizer: the state is shared out already; give its inner optimizer"
    if "optimizer" not in wrapper:
        yield "several optimizers: one alone is tested with sharding"
