"""Load a checkpoint into a model for inference; refuse it if weights are missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def load_weights(
    model: nn.Module, checkpoint: str | Path, *, allow_partial: bool = False
) -> dict[str, Any]:
    """Load ``checkpoint`` into ``model`` and return the checkpoint's metadata.

    Prediction and export load here. Tests load through mmengine's Runner, whose hooks may rearrange
    the checkpoint, and so through ``mmattn/bridge/checkpoints.py``; RequireCompleteCheckpointHook
    refuses partial ones. Both paths end in ``mmattn.io.load.load_into``.

    Args:
        model: Network to load; it is changed in place.
        checkpoint: File of the model's weights, read as data only.
        allow_partial: Accept a checkpoint that lacks weights which inference uses.

    Returns:
        Class names and palette of the dataset of the training, as the checkpoint tells them.

    Raises:
        CheckpointError: The file cannot be read safely, or, unless ``allow_partial``, weights are
            missing or have another shape.
    """
    from mmattn.io import load_state_dict, read_checkpoint
    from mmattn.io.load import normalize_checkpoint, require_complete

    source = str(checkpoint)
    content = normalize_checkpoint(read_checkpoint(checkpoint), source)
    report = load_state_dict(model, content["state_dict"], source=source)
    if not allow_partial:
        require_complete(report, source)
    return _dataset_meta(content.get("meta") or {})


def _dataset_meta(meta: dict[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says about its dataset; before 2023 its keys were upper-case."""
    dataset = meta.get("dataset_meta") or {k: meta[k] for k in ("CLASSES", "PALETTE") if k in meta}
    return {str(key).lower(): value for key, value in dataset.items()}
