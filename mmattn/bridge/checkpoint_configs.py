"""Keep mmengine from running the config texts that lie in checkpoints.

A config is a Python program. mmengine stores its text with the weights, and runs it in two places:
at a resume, to compare the GPUs of then and now (``meta["config"]``), and where an inferencer is
given weights and no config. However safely a file is read, its text would run then.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from mmattn.errors import ConfigError


def drop_config_text(checkpoint: Any) -> Any:
    """Remove, in place, the text that a resume would run; return the checkpoint.

    Only old mmcv wrote it, and nothing else reads it; mmengine's own is ``meta["cfg"]``.
    """
    meta = checkpoint.get("meta") if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop("config", None)
    return checkpoint


def patch_inferencer(infer_module: ModuleType) -> None:
    """Make mmengine's inferencers refuse to take the config from the weights."""
    inferencer = infer_module.BaseInferencer
    inferencer._init_model = _requiring_config(inferencer._init_model)


def _requiring_config(init_model):
    @functools.wraps(init_model)
    def wrapper(self, cfg, weights, device="cpu"):
        if not cfg:
            raise ConfigError(
                f"{weights}: the config inside a checkpoint is a program, which is not run. Give "
                "the config itself: model='CONFIG.py' (it lies beside the checkpoint of a training)"
            )
        return init_model(self, cfg, weights, device)

    return wrapper
