"""What the dataset of a config says about itself, from its class and its settings alone."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from .registry_scope import enter_scope
from .walk import innermost_dataset

if TYPE_CHECKING:
    from mmengine.config import Config


def dataset_meta(cfg: Config) -> dict[str, Any]:
    """Return ``classes``, ``palette`` and so on of a config's dataset; no data is read.

    The test dataset comes first, then those of validation and training.
    """
    from mmengine.registry import DATASETS

    enter_scope(cfg)
    for split in ("test_dataloader", "val_dataloader", "train_dataloader"):
        loader = cfg.get(split)
        if not loader or "dataset" not in loader:
            continue
        dataset = innermost_dataset(loader["dataset"])
        if "type" not in dataset:
            continue
        cls = dataset["type"]
        if isinstance(cls, str):
            with DATASETS.switch_scope_and_registry(dataset.get("_scope_")) as registry:
                cls = registry.get(cls)
        given = dataset.get("metainfo")
        if hasattr(cls, "_load_metainfo"):
            return dict(cls._load_metainfo(deepcopy(given)))
        return dict(getattr(cls, "METAINFO", {}), **(given or {}))
    return {}
