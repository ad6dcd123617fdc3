"""Channels of a backbone's feature maps, with which necks and heads have to agree.

``mmattn.TimmBackbone`` and ``mmattn.WithPlugins`` know how many channels their feature maps have,
which necks and heads have to be told in a config: a wrong number is found before the first step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


def check_channels(model: nn.Module, filename: str | None = None) -> None:
    """Compare the channels that neck and heads expect with those of the maps that they get.

    Those of a backbone are compared if it tells them: TimmBackbone, and any one inside WithPlugins;
    those of a neck in front of another neck if both have one number for all levels.

    Args:
        model: A detector or segmentor, also in a wrapper.
        filename: Path of the config, used in messages.

    Raises:
        ConfigError: They differ; the message has the right list.
    """
    while not hasattr(model, "backbone") and hasattr(model, "module"):
        model = model.module
    where = f"{filename}: " if filename else ""
    _check_necks(getattr(model, "neck", None), where)
    channels = _returned_channels(getattr(model, "backbone", None))
    if channels is None:
        return
    kind = type(model.backbone).__name__
    neck = getattr(model, "neck", None)
    if neck is not None:
        expected = getattr(neck, "in_channels", None)
        # Necks of the YOLO family list theirs from the smallest map.
        if isinstance(expected, (list, tuple)) and list(expected) not in (
            channels,
            channels[::-1],
        ):
            raise ConfigError(
                f"{where}model.neck.in_channels={list(expected)}, but the backbone, {kind}, "
                f"returns maps of {channels} channels. Write in_channels={channels} there, or "
                "choose other maps with the backbone's out_indices."
            )
        return
    for name in ("decode_head", "auxiliary_head"):
        heads = getattr(model, name, None)
        for head in heads if isinstance(heads, Sequence) or hasattr(heads, "__len__") else [heads]:
            _check_head(head, f"{where}model.{name}", channels, kind)


def _check_necks(neck: Any, where: str) -> None:
    """Check necks that follow each other, as ``neck=[dict(...), dict(...)]`` builds them."""
    from torch import nn

    parts = list(neck) if isinstance(neck, nn.Sequential) else []
    for number, (first, second) in enumerate(pairwise(parts), 1):
        returned = getattr(first, "out_channels", None)
        expected = getattr(second, "in_channels", None)
        if isinstance(returned, int) and isinstance(expected, int) and returned != expected:
            raise ConfigError(
                f"{where}model.neck.{number}.in_channels={expected}, but the neck in front of it, "
                f"{type(first).__name__}, returns maps of {returned} channels. Write "
                f"in_channels={returned} there, or change out_channels of model.neck.{number - 1}."
            )


def _check_head(head: Any, where: str, channels: list[int], kind: str) -> None:
    """Check a head of mmseg, which picks feature maps by ``in_index``."""
    index, expected = getattr(head, "in_index", None), getattr(head, "in_channels", None)
    if index is None or expected is None:
        return
    indices = list(index) if isinstance(index, (list, tuple)) else [index]
    count = len(channels)
    if not all(-count <= one < count for one in indices):
        raise ConfigError(
            f"{where}.in_index={index}, but the backbone, {kind}, returns {count} maps."
        )
    found: Any = [channels[one] for one in indices]
    if not isinstance(index, (list, tuple)):
        found = found[0]
    elif getattr(head, "input_transform", None) == "resize_concat":
        found = sum(found)
    if (list(expected) if isinstance(expected, (list, tuple)) else expected) != found:
        raise ConfigError(
            f"{where}.in_channels={expected} with in_index={index}, but the backbone, {kind}, "
            f"returns maps of {channels} channels: {found} for these indices."
        )


def _returned_channels(backbone: Any) -> list[int] | None:
    told = getattr(getattr(backbone, "plugins", None), "out_channels", None)
    if told is None and getattr(backbone, "timm_model", None) is not None:
        told = getattr(backbone, "out_channels", None)
    return list(told) if isinstance(told, (list, tuple)) else None
