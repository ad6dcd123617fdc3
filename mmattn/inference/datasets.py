"""Build the dataset of a split by itself, with its pipeline and its wrappers."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config


def build_dataset(cfg: Config, split: str) -> Any:
    """Build the dataset of ``train``, ``val`` or ``test``.

    Raises:
        ConfigError: The config has no such dataset, or it is empty.
    """
    from mmengine.registry import DATASETS

    loader = cfg.get(f"{split}_dataloader")
    if not loader:
        raise ConfigError(f"{cfg.filename} has no {split}_dataloader.")
    enter_scope(cfg)
    with explain_registry_errors(cfg.filename):
        dataset = DATASETS.build(deepcopy(loader["dataset"]))
    if hasattr(dataset, "full_init"):
        dataset.full_init()
    if len(dataset) == 0:
        raise ConfigError(f"{cfg.filename}: {split}_dataloader.dataset has no samples.")
    return dataset
