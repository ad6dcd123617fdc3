"""Load a checkpoint for inference: read once, copied once, complete or refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def load_weights(
    model: nn.Module, checkpoint: str | Path, *, allow_partial: bool = False
) -> dict[str, Any]:
    """Load ``checkpoint`` into ``model`` and return the checkpoint's metadata.

    Tests (``mmattn.engine.test``) load through mmengine's Runner, whose hooks may rearrange the
    checkpoint; reading, copying and the policy are the same functions of ``mmattn.io`` there.

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
