"""Weight files for timm's feature networks: read as data, and never fetched.

Files that timm publishes hold the whole classifier under its own names, some of them names of
years ago. timm renames and resizes these while it builds a network, so that is what is done: a
second network is built around the file's content, and its weights are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmattn.errors import CheckpointError, ConfigError
from mmattn.io.checkpoint_files import read_checkpoint
from mmattn.io.convert import weights_of
from mmattn.io.load_into_model import LoadReport
from mmattn.quiet import quiet

from .timm_models import build_features


def read_timm_weights(
    path: str | Path, name: str, arguments: Mapping[str, Any]
) -> tuple[dict[str, Tensor], LoadReport]:
    """Read the weights of ``build_features(name, **arguments)`` from a file of timm's layout.

    Args:
        path: Safetensors or torch file of the whole network.
        name: timm's name of the network.
        arguments: Arguments that the network was built with.

    Returns:
        The weights in the file, by the network's names; and a report of those that it lacks.

    Raises:
        CheckpointError: The file is not in timm's layout, or belongs to another network.
    """
    weights = weights_of(read_checkpoint(path))
    try:
        # A run with a file of nothing but NaN tells which weights come from the file: timm does
        # not, it loads what fits.
        marks = {
            key: torch.full_like(value, torch.nan) if value.is_floating_point() else value
            for key, value in weights.items()
        }
        marked = _through_timm(marks, name, arguments)
        loaded = _through_timm(weights, name, arguments)
    except ConfigError as error:  # the network alone was built before, so it is the weights
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise CheckpointError(f"{path}: does not fit timm's {name}: {reason}") from error
    counted = [key for key, value in marked.items() if value.is_floating_point() and value.numel()]
    missing = [key for key in counted if not marked[key].isnan().any()]
    report = LoadReport(len(counted) - len(missing), len(counted), tuple(missing))
    if not report.matched:
        raise CheckpointError(
            f"{path}: holds no weight of timm's {name}; it has {', '.join(list(weights)[:3])}, …"
        )
    return {key: value for key, value in loaded.items() if key not in missing}, report


def _through_timm(
    weights: Mapping[str, Tensor], name: str, arguments: Mapping[str, Any]
) -> dict[str, Tensor]:
    # timm warns of the classifier's weights, which have no place in a feature network.
    with quiet("timm.models._builder"), torch.random.fork_rng([]):
        network = build_features(
            name,
            pretrained=True,
            # The highest priority among timm's sources of weights, so no other is asked.
            pretrained_cfg_overlay={"state_dict": dict(weights)},
            **arguments,
        )
    return network.state_dict()
