"""Repeat a step that a training has saved, anywhere, from its file and the config of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmattn.config.load import load_config
from mmattn.errors import CheckpointError, ConfigError
from mmattn.inference.model import build_model

from .bad_step import read_bad_step
from .repeat import Finding, repeat_step
from .window import Batch, plain_attributes


@dataclass(frozen=True)
class Replay:
    """A repeated step.

    Attributes:
        step: Which one, from 1.
        rank: Of the process that saved it.
        recorded: What the training has found.
        repeated: What the repetition has found.
    """

    step: int
    rank: int
    recorded: Finding
    repeated: Finding

    @property
    def same(self) -> bool:
        """Whether both are about the same losses and the same place."""
        return self.repeated.same_as(self.recorded.plain())


def replay(
    path: str | Path,
    config: str | Path | None = None,
    *,
    cfg_options: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
) -> Replay:
    """Repeat the step in ``path``.

    Args:
        path: File that a training has written, ``bad_steps/iter_*.pth`` in its folder.
        config: Config of the training; None for the one that the training has left in its folder.
        cfg_options: Settings of the config to override, dotted keys.
        device: Device of the network.

    Raises:
        CheckpointError: The file cannot be read, or its weights are not those of the config's
            model.
        ConfigError: There is no config beside the file.
        DataError: The file is no saved step, or its batch cannot be made again.
    """
    content = read_bad_step(path)
    cfg = load_config(_config_beside(path, content) if config is None else config,
                      dict(cfg_options or {}))  # fmt: skip
    return repeat_saved(content, build_model(cfg, device=device), str(path))


def repeat_saved(content: Mapping[str, Any], model: nn.Module, path: str) -> Replay:
    """Repeat a step on a model that is built already.

    Args:
        content: What ``read_bad_step`` returned.
        model: Network of the training, whatever its weights; it gets those of the step.
        path: Of the file, used in messages.

    Raises:
        CheckpointError: The file's weights are not those of ``model``.
    """
    _set_state(model, content, path)
    preprocessor: Any = model.data_preprocessor
    augments = list(getattr(preprocessor, "batch_augments", None) or ())

    def before(batch: Batch) -> None:
        for module, values in zip(augments, batch.augments, strict=True):
            vars(module).update(values)

    autocast = content.get("autocast")
    if autocast is not None:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        autocast = (device.type, autocast[1])
    found = repeat_step(model, content["batches"], autocast=autocast, before_batch=before)
    return Replay(content["step"], content["rank"], Finding(**content["finding"]), found)


def _config_beside(path: str | Path, content: Mapping[str, Any]) -> Path:
    name = Path(content["config"]).name  # a file does not say where to read
    file = Path(path).absolute().parent.parent / name
    if not file.is_file():
        raise ConfigError(
            f"{path}: the config of its training, {name}, is not in the folder above. Give it with "
            "--config; it lies beside the checkpoints of the run"
        )
    return file


def _set_state(model: nn.Module, content: Mapping[str, Any], path: str) -> None:
    """Give ``model`` the weights, buffers and plain attributes that the step began with.

    Raises:
        CheckpointError: The file's weights are of another model.
    """
    saved = {**content["model"], **content["buffers"]}
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    wrong = [n for n in own if n not in saved or saved[n].shape != own[n].shape]
    wrong += [name for name in saved if name not in own]
    if wrong:
        raise CheckpointError(
            f"{path}: is not a step of this config's model: {len(wrong)} of {len(own)} weights are "
            f"missing, unknown or of another shape, such as {wrong[0]}. Give the config of its "
            "training with --config"
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])
    model.train()
    for name, module in model.named_modules():
        values = content["attributes"].get(name, {})
        known = plain_attributes(module)
        vars(module).update({key: value for key, value in values.items() if key in known})
    _set_progress(content.get("progress") or {})


def _set_progress(progress: Mapping[str, Any]) -> None:
    """Tell parts that count iterations where the training was."""
    from mmengine.logging import MessageHub

    hub = MessageHub.get_current_instance()
    for key, value in progress.items():
        hub.update_info(key, value)
