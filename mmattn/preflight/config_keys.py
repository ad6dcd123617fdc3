"""Find misspelt top-level keys of a config, which the runner would silently ignore.

A config is also a place for plain variables (``crop_size``, ``train_pipeline``, ...), so an
unknown key is an error only when it is one slip away from a key that is read; an unused block of
settings is a warning, if the config's own file wrote it: what a base leaves unused is its affair.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmattn.config.walk import walk
from mmattn.errors import ConfigError

from .slips import is_slip

logger = logging.getLogger("mmattn")

#: What mmengine's runners and the tools read.
READ_KEYS = frozenset({
    "model", "data_preprocessor", "work_dir", "experiment_name", "default_scope", "custom_imports",
    "train_dataloader", "train_cfg", "val_dataloader", "val_cfg", "val_evaluator",
    "test_dataloader", "test_cfg", "test_evaluator", "tta_model", "tta_pipeline",
    "optim_wrapper", "param_scheduler", "auto_scale_lr", "default_hooks", "custom_hooks",
    "load_from", "resume", "launcher", "env_cfg", "randomness", "log_processor", "log_level",
    "visualizer", "runner_type", "strategy", "model_wrapper_cfg", "sync_bn", "compile",
    "find_unused_parameters", "activation_checkpointing", "efficient_conv_bn_eval",
})  # fmt: skip
#: Variables of the usual configs that look like a slip of the above.
_VARIABLES = frozenset({"test_pipeline", "train_pipeline", "val_pipeline", "conv_cfg", "models"})
#: Keys of configs before mmengine, and what took their place.
_OUTDATED = {
    "data": "train_dataloader, val_dataloader and test_dataloader",
    "optimizer_config": "optim_wrapper",
    "lr_config": "param_scheduler",
    "evaluation": "val_evaluator and train_cfg.val_interval",
    "checkpoint_config": "default_hooks.checkpoint",
    "log_config": "default_hooks.logger and visualizer",
}


def check_keys(cfg: Mapping[str, Any], filename: str | None = None) -> list[str]:
    """Refuse misspelt and outdated top-level keys.

    Args:
        cfg: The whole config.
        filename: Path of the config, used in messages.

    Returns:
        Blocks of settings that nothing uses; they are logged as a warning.

    Raises:
        ConfigError: A key is one slip away from one that is read, or the config is outdated.
    """
    where = f"{filename}: " if filename else ""
    unread = [k for k in cfg if k not in READ_KEYS and not k.startswith("_")]
    for key in unread:
        near = nearest_read_key(key)
        if near:
            raise ConfigError(f"{where}nothing reads the key {key!r}. Did you mean {near!r}?")
    outdated = [k for k in unread if k in _OUTDATED]
    if outdated and "train_dataloader" not in cfg and "test_dataloader" not in cfg:
        changes = "; ".join(f"{key} is now {_OUTDATED[key]}" for key in outdated)
        raise ConfigError(f"{where}a config of the time before mmengine: {changes}")
    own = _own_names(filename)
    unused = [key for key in _unused_blocks(cfg, unread) if own is None or key in own]
    if unused:
        logger.warning(
            "%snothing uses %s: the settings there have no effect", where, ", ".join(unused)
        )
    return unused


def nearest_read_key(key: str) -> str | None:
    """Return the key that is read and one slip away from ``key``, two in long names."""
    if key in READ_KEYS or key in _VARIABLES:
        return None
    return next((known for known in sorted(READ_KEYS) if is_slip(key, known)), None)


def _unused_blocks(cfg: Mapping[str, Any], unread: list[str]) -> list[str]:
    """Unread keys with settings (a ``dict`` or a list of them) that nothing read contains."""
    used: list[Any] = []
    for key in READ_KEYS & set(cfg):
        blocks = (value for _, value in walk(cfg[key]))
        used.extend(value for value in blocks if isinstance(value, (Mapping, list, tuple)))
    return [key for key in unread if _is_block(cfg[key]) and not _is_used(cfg[key], used)]


def _is_block(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping) and bool(value)


def _is_used(value: Any, used: list[Any]) -> bool:
    """Return whether a block went into another one, whole or spread."""
    if isinstance(value, Mapping):
        return any(
            all(key in block and block[key] == item for key, item in value.items())
            for block in used
            if isinstance(block, Mapping)
        )
    # In one piece: the steps of a pipeline that is not used mostly occur in the one that is.
    items, count = list(value), len(value)
    return any(
        list(block[start : start + count]) == items
        for block in used
        if isinstance(block, (list, tuple))
        for start in range(len(block) - count + 1)
    )


def _own_names(filename: str | None) -> set[str] | None:
    """Return the names that a Python config assigns; None where that cannot be told."""
    if filename is None or not filename.endswith(".py") or not Path(filename).is_file():
        return None
    tree = ast.parse(Path(filename).read_text(encoding="utf-8"))
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {node.id for node in names if isinstance(node.ctx, ast.Store)}
