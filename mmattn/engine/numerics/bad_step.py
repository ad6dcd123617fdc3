"""A step that was not finite, as a file: all that its repetition needs, as plain data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmattn.data.generators import plain_states
from mmattn.errors import DataError
from mmattn.io import atomic_write, read_checkpoint
from mmattn.io.weights_only import to_weights_only

from .plain_batch import batch_of, plain_batch
from .window import Batch, plain_attributes

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from .repeat import Finding

_FORMAT = "mmattn bad step"
_VERSION = 1
_KEYS = ("config", "step", "rank", "finding", "model", "buffers", "attributes", "batches")


def write_bad_step(
    path: str | os.PathLike[str],
    *,
    runner: Runner,
    model: nn.Module,
    batches: list[Batch],
    buffers: Mapping[str, Tensor],
    autocast: tuple[str, str] | None,
    rank: int,
    finding: Finding,
) -> None:
    """Write a step to ``path``; ``torch.load(path, weights_only=True)`` reads it.

    Args:
        path: File, which appears only when complete.
        runner: Runner of the training.
        model: Network, its weights those of before the step.
        batches: Batches of the step, in their order.
        buffers: Values of the network's buffers in front of the first of them.
        autocast: As for ``repeat_step``.
        rank: Of the process.
        finding: What a repetition has found.

    Raises:
        OSError: The file cannot be written.
    """
    hub = runner.message_hub.runtime_info
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "config": _config_name(runner),
        "step": runner.iter + 1,
        "rank": rank,
        "seed": runner.seed,
        "checkpoint": hub.get("last_ckpt"),
        "progress": {k: hub[k] for k in ("iter", "epoch", "max_iters", "max_epochs") if k in hub},
        "autocast": autocast,
        "finding": finding.plain(),
        "model": {name: value.detach().cpu() for name, value in model.named_parameters()},
        "buffers": {name: value.detach().cpu() for name, value in buffers.items()},
        "attributes": {name: plain_attributes(part) for name, part in model.named_modules()},
        "batches": [
            {
                "data": plain_batch(batch.data),
                "generators": plain_states(batch.generators),
                "augments": batch.augments,
                "iteration": batch.iteration,
                "factor": batch.factor,
            }
            for batch in batches
        ],
    }
    try:
        with atomic_write(path) as file:
            torch.save(to_weights_only(content, lambda place, value: None), file)
    except RuntimeError as error:  # what torch's writer makes of a full disk
        raise OSError(f"{path}: {error}") from error


def read_bad_step(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file that ``write_bad_step`` wrote; nothing in it is executed.

    Returns:
        Its content, with ``batches`` as ``Batch``.

    Raises:
        CheckpointError: The file is missing, damaged or not plain data.
        DataError: It holds something else, or objects that this installation lacks.
    """
    content = read_checkpoint(path)
    if content.get("format") != _FORMAT or any(key not in content for key in _KEYS):
        raise DataError(
            f"{path}: is no step that a training has saved. Give the file that the error named, "
            "bad_steps/iter_*.pth in the folder of the run; a checkpoint is resumed by mmattn train"
        )
    if content["version"] != _VERSION:
        raise DataError(
            f"{path}: has version {content['version']} of the format, and this mmattn reads "
            f"{_VERSION}: repeat it with the mmattn that wrote it"
        )
    try:
        content["batches"] = [
            Batch(
                batch_of(batch["data"]),
                batch["generators"],
                batch["augments"],
                batch["iteration"],
                factor=batch["factor"],
            )
            for batch in content["batches"]
        ]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return content


def _config_name(runner: Runner) -> str:
    """Return the name of the config that the runner has written into the run's folder."""
    filename = runner.cfg.filename
    return Path(filename).name if filename else f"{runner.timestamp}.py"
