"""Recognise configs of the time before mmengine: mmdet 2.x and mmseg 0.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmattn.errors import OutdatedConfigError
from mmattn.type_names import bare_name

from .walk import walk

#: Keys of such configs, and what took their place.
OUTDATED = {
    "data": "train_dataloader, val_dataloader and test_dataloader",
    "optimizer": "optim_wrapper.optimizer",
    "optimizer_config": "optim_wrapper",
    "lr_config": "param_scheduler",
    "momentum_config": "param_scheduler",
    "runner": "train_cfg",
    "evaluation": "val_evaluator and train_cfg.val_interval",
    "checkpoint_config": "default_hooks.checkpoint",
    "log_config": "default_hooks.logger and visualizer",
}
#: Names that others use for variables of their own.
_AMBIGUOUS = ("optimizer", "runner")
#: Sections of today's configs.
_TODAY = ("train_dataloader", "val_dataloader", "test_dataloader", "optim_wrapper", "train_cfg")
_SEGMENTORS = ("EncoderDecoder", "CascadeEncoderDecoder")


def outdated_keys(cfg: Mapping[str, Any]) -> list[str]:
    """Return the keys by which a config is of the time before mmengine; none for one of today."""
    if any(cfg.get(key) is not None for key in _TODAY if key != "train_cfg"):
        return []
    found = [key for key in OUTDATED if isinstance(cfg.get(key), (Mapping, list))]
    return found if any(key not in _AMBIGUOUS for key in found) else []


def outdated_package(cfg: Mapping[str, Any]) -> str:
    """Return ``mmdet 2.x`` or ``mmseg 0.x``, by the model and the transforms."""
    names = {bare_name(v["type"]) for _, v in walk(dict(cfg)) if _is_typed(v)}
    segmentor = names & {*_SEGMENTORS} and "SegRescale" not in names
    return "mmseg 0.x" if segmentor else "mmdet 2.x"


def refuse_outdated(cfg: Mapping[str, Any], filename: str) -> None:
    """Refuse a config of the time before mmengine.

    Raises:
        OutdatedConfigError: It is one; the message names its keys and the command that upgrades it.
    """
    keys = outdated_keys(cfg)
    if keys:
        changes = "; ".join(f"{key} is now {OUTDATED[key]}" for key in keys)
        raise OutdatedConfigError(
            f"{filename}: this is a config of {outdated_package(cfg)}, of the time before mmengine "
            f"({changes}): `mmattn config upgrade {filename}` writes it for today's packages"
        )


def _is_typed(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("type"), str)
