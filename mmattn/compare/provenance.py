"""Machine, versions and data of a comparison, for a reader who wants to repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmattn.environment import backends, machine, versions

if TYPE_CHECKING:
    from mmengine.config import Config


def machine_and_versions() -> dict[str, str]:
    """Return what the end of a report says about the machine, the versions and the operators."""
    backend = backends()
    return {
        **machine(),
        "device": backend["device"],
        **versions(),
        "mmattn's operators": backend["mmattn's operators"],
    }


def data_facts(cfg: Config, train: Any, val: Any) -> dict[str, Any]:
    """Describe the training and the validation dataset of ``cfg``: class, folder, lengths."""
    from mmattn.config.walk import innermost_dataset

    leaf = innermost_dataset(cfg.val_dataloader.dataset)
    cls = leaf["type"]
    return {
        "class": cls if isinstance(cls, str) else cls.__name__,
        "root": str(leaf.get("data_root") or ""),
        "train": len(train),
        "val": len(val),
        "classes": len((getattr(val, "metainfo", None) or {}).get("classes") or ()),
    }
