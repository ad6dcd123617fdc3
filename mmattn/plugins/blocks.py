"""Building one block for one place of a network, with errors that name both.

A block is mmcv's plugin: its constructor takes ``in_channels`` first, and it maps (N, C, H, W) to
the same shape.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmcv.cnn import build_plugin_layer
from mmengine.registry import MODELS as ROOT
from torch import nn

from mmattn.errors import ConfigError, did_you_mean
from mmattn.registry import MODELS


def build_block(cfg: Mapping[str, Any], channels: int, *, place: str) -> tuple[str, nn.Module]:
    """Build the block of ``cfg`` for a map of ``channels`` channels.

    Args:
        cfg: ``type`` and arguments, as mmcv's ``build_plugin_layer`` takes them; ``postfix`` is
            appended to the name.
        channels: Handed to the block as ``in_channels``.
        place: Where the block goes, for messages: ``"plugins[0] after 'layer3.0.conv2'"``.

    Returns:
        The block's name (mmcv's rule: the class's name in snake case) and the block.

    Raises:
        ConfigError: No such block, an argument that it does not take, or a number of channels
            that it cannot work with.
    """
    if not isinstance(cfg, Mapping) or "type" not in cfg:
        raise ConfigError(f"{place}: cfg must be a dict with a `type`, got {cfg!r}.")
    kind = _find(cfg["type"], place)
    arguments = {key: value for key, value in cfg.items() if key not in ("type", "postfix")}
    _check_arguments(kind, arguments, place)
    try:
        return build_plugin_layer(
            {"type": kind, **arguments}, postfix=cfg.get("postfix", ""), in_channels=channels
        )
    except (ValueError, TypeError, AssertionError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise ConfigError(
            f"{place}: {kind.__name__}({given}) cannot be built for the {channels} channels "
            f"there: {error or type(error).__name__}"
        ) from error


def _find(name: str | type, place: str) -> type:
    """The class called ``name``, looked up as mmcv does."""
    if inspect.isclass(name):
        return name
    with ROOT.switch_scope_and_registry(None) as registry:
        found = registry.get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigError(f"{place}: there is no block {name!r}.{_nearest_block(str(name))}")
    if not inspect.isclass(found):
        raise ConfigError(f"{place}: {name!r} is a function, not a block.")
    return found


def _nearest_block(name: str) -> str:
    """A did-you-mean over our blocks, with their scope, and those of mmcv."""
    MODELS.import_from_location()
    spelled = {key: key for key, kind in ROOT.module_dict.items() if is_block(kind)}
    ours = {key: f"mmattn.{key}" for key, kind in MODELS.module_dict.items() if is_block(kind)}
    spelled |= ours  # mmcv has some of the same name
    bare = name.rpartition(".")[2]
    folded = {key.lower(): key for key in spelled}
    if bare.lower() in folded:
        return f" Did you mean {spelled[folded[bare.lower()]]!r}?"
    hint = did_you_mean(bare, spelled)
    for key, spelling in spelled.items():
        hint = hint.replace(repr(key), repr(spelling))
    return f"{hint} mmattn has {', '.join(sorted(ours))}."


def is_block(kind: Any) -> bool:
    """Whether ``kind`` is a module that needs ``in_channels`` and nothing else."""
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        return False
    first, *others = [
        p
        for p in inspect.signature(kind).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ] or [None]
    return (
        first is not None
        and first.name == "in_channels"
        and all(other.default is not other.empty for other in others)
    )


def _check_arguments(kind: type, arguments: Mapping[str, Any], place: str) -> None:
    parameters = inspect.signature(kind).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    if "in_channels" not in parameters:
        raise ConfigError(
            f"{place}: {kind.__name__} takes no `in_channels`, so it is no block for this place."
        )
    for key in arguments:
        if key not in parameters:
            known = sorted(set(parameters) - {"in_channels"})
            raise ConfigError(
                f"{place}: {kind.__name__} takes no {key!r}.{did_you_mean(key, known)} "
                f"It takes {', '.join(known) or 'no arguments'}."
            )
