"""What does not go together with a sharded model is refused before anything is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

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
    if "type" in wrapper and not is_sharded(cfg):
        raise ConfigError(
            f"--shard-model: {cfg.filename} has model_wrapper_cfg={dict(wrapper)}, which wraps the "
            "model otherwise; leave one of the two out"
        )
    cfg.model_wrapper_cfg = {"type": f"mmattn.{NAME}", **wrapper}
    return cfg


def is_sharded(cfg: Config) -> bool:
    """Return whether a config shards its model."""
    return bare_name((cfg.get("model_wrapper_cfg") or {}).get("type")) == NAME


def test_unsharded(cfg: Config) -> Config:
    """Leave the sharding out of a test, in which each process needs the whole model."""
    if is_sharded(cfg):
        cfg.model_wrapper_cfg = None
    return cfg


test_unsharded.__test__ = False  # pytest: no test


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
    if cfg.get("launcher", "none") == "none":
        yield "it takes several processes: give --launcher, or leave the sharding out"
    others = [key for key in cfg.model_wrapper_cfg if key not in ("type", "min_parameters")]
    if others:
        yield f"model_wrapper_cfg.{others[0]}: it has min_parameters alone; leave others out"
    if "runner_type" in cfg or cfg.get("strategy"):
        yield "runner_type and strategy (ZeRO, DeepSpeed, ...) share the model out by themselves"
    if cfg.get("compile"):
        yield "compile: a compiled model is not tested with sharding; leave it out"
    for hook in [*(cfg.get("custom_hooks") or ()), *(cfg.get("default_hooks") or {}).values()]:
        name = bare_name((hook or {}).get("type"))
        if "EMA" in name:
            yield f"{name}: it copies the model, which a sharded one does not allow; leave it out"
        elif name == "CompileHook":
            yield "CompileHook: a compiled model is not tested with sharding; leave it out"
    wrapper = cfg.get("optim_wrapper") or {}
    if "optimizer" not in wrapper:
        yield "optim_wrapper: several optimizers are not tested with sharding; one alone is"
    elif bare_name(wrapper["optimizer"].get("type")) == "ZeroRedundancyOptimizer":
        yield "ZeroRedundancyOptimizer: the state is shared out already; give its inner optimizer"
