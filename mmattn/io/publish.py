"""Reduce the checkpoint of a training to what others need: weights, class names, where it is from.

The name of the file ends with the first digits of its SHA-256, as torch.hub and the model zoos of
OpenMMLab have it: ``load_url(..., check_hash=True)`` compares them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmattn.errors import CheckpointError, ConfigError

from .atomic import atomic_write
from .checkpoint_files import read_checkpoint, safetensors_bytes, torch_bytes
from .storage import telling_storage_errors
from .weights_only import to_weights_only

#: Endings of the files that can be written.
ENDINGS = (".safetensors", ".pth")
_DIGITS = 8
#: What is kept of a checkpoint's meta, where it is there.
_META = ("dataset_meta", "epoch", "iter", "experiment_name", "time", "mmengine_version", "CLASSES")


@dataclass(frozen=True)
class Published:
    """Result of ``publish``.

    Attributes:
        path: File that was written.
        averaged: Whether the weights are averages over the training (EMA).
        left_out: Parts of the checkpoint that are not in the file.
        classes: Names of the classes; empty where the checkpoint has none.
        sizes: Bytes of the checkpoint and of the file.
    """

    path: Path
    averaged: bool
    left_out: tuple[str, ...]
    classes: tuple[str, ...]
    sizes: tuple[int, int]


def publish(checkpoint: str | os.PathLike[str], out: str | os.PathLike[str]) -> Published:
    """Write the weights of a checkpoint to ``out``, with its digest before the ending.

    Where the training kept averaged weights (EMA), they are the ones: mmengine puts them into
    ``state_dict`` and those that are trained into ``ema_state_dict``.

    Args:
        checkpoint: Checkpoint of a training.
        out: File to write, ending in ``.safetensors`` or ``.pth``.

    Raises:
        CheckpointError: The checkpoint is damaged, or holds no weights.
        ConfigError: ``out`` has another ending.
        StorageError: The file cannot be written.
    """
    out = Path(out)
    if out.suffix not in ENDINGS:
        raise ConfigError(f"{out}: must end in {' or '.join(ENDINGS)}")
    content = read_checkpoint(checkpoint)
    weights = content.get("state_dict", content)
    if not isinstance(weights, Mapping) or not any(map(torch.is_tensor, weights.values())):
        raise CheckpointError(f"{checkpoint}: holds no weights (no 'state_dict' of tensors)")
    weights = {str(k): v.detach().cpu() for k, v in weights.items() if torch.is_tensor(v)}
    meta = content.get("meta") if "state_dict" in content else None
    meta = {key: meta[key] for key in _META if key in meta} if isinstance(meta, Mapping) else {}
    averaged = "ema_state_dict" in content
    meta["averaged"] = averaged
    data = _file_content(out, weights, meta)
    digest = hashlib.sha256(data).hexdigest()
    path = out.with_name(f"{out.stem}-{digest[:_DIGITS]}{out.suffix}")
    with telling_storage_errors(path, len(data)), atomic_write(path) as file:
        file.write(data)
    classes = (meta.get("dataset_meta") or {}).get("classes") or meta.get("CLASSES") or ()
    left_out = set(content) - {"state_dict", "meta"} if "state_dict" in content else ()
    return Published(
        path,
        averaged,
        tuple(sorted(map(str, left_out))),
        (classes,) if isinstance(classes, str) else tuple(map(str, classes)),
        (Path(checkpoint).stat().st_size, len(data)),
    )


def _file_content(out: Path, weights: dict[str, torch.Tensor], meta: dict[str, Any]) -> bytes:
    plain = to_weights_only(meta, lambda path, value: None)
    if out.suffix == ".pth":
        return torch_bytes({"meta": plain, "state_dict": weights}).getvalue()
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, default=_as_list)
        for key, value in plain.items()
    }
    return safetensors_bytes(out, weights, texts)


def _as_list(value: Any) -> Any:
    return value.tolist() if torch.is_tensor(value) else list(value)
