"""Build one block for one place of a network, with errors that name both.

A block is mmcv's plugin: its constructor takes ``in_channels`` first, and it maps (N, C, H, W) to
the same shape. ``init='identity'`` in its config makes any block start as the identity
(``mmattn.plugins.identity``).
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

from .identity import start_as_identity

#: Keys of a block's config that are no arguments of its class.
_OWN_KEYS = ("type", "postfix", "init")
#: Values of ``init``: the paper's initial state, or the identity.
INITS = ("plain", "identity")


def build_block(cfg: Mapping[str, Any], channels: int, *, place: str) -> tuple[str, nn.Module]:
    """Build the block of ``cfg`` for a feature map of ``channels`` channels.

    Args:
        cfg: ``type`` and arguments, as mmcv's ``build_plugin_layer`` takes them; ``postfix`` is
            appended to the name; ``init`` is ``'plain'``, the default, or ``'identity'``.
        channels: Number of channels, the block's ``in_channels``.
        place: Place of the block, used in messages: ``"plugins[0] after 'layer3.0.conv2'"``.

    Returns:
        The block's name (mmcv's rule: the class's name in snake case) and the block.

    Raises:
        ConfigError: The block is not registered, an argument is unexpected, or the block cannot
            work with that number of channels, or cannot start as the identity.
    """
    if not isinstance(cfg, Mapping) or "type" not in cfg:
        raise ConfigError(f"{place}: cfg must be a dict with a `type`, got {cfg!r}.")
    block_cls = find_block(cfg["type"], place)
    arguments = {key: value for key, value in cfg.items() if key not in _OWN_KEYS}
    init = cfg.get("init", "plain")
    if init not in INITS:
        raise ConfigError(
            f"{place}: init must be {' or '.join(map(repr, INITS))}, got {init!r}."
            f"{did_you_mean(str(init), INITS)}"
        )
    _check_arguments(block_cls, arguments, place)
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    shown = f"{place}: {block_cls.__name__}({given})"
    try:
        name, block = build_plugin_layer(
            {"type": block_cls, **arguments}, postfix=cfg.get("postfix", ""), in_channels=channels
        )
    except (ValueError, TypeError, AssertionError) as error:
        raise ConfigError(
            f"{shown} cannot be built for the {channels} channels there: "
            f"{error or type(error).__name__}"
        ) from error
    # For the report of mmattn.io.load_into_model: a file of the network alone lacks nothing.
    vars(block)["allow_missing_keys"] = True
    if init == "identity":
        try:
            start_as_identity(block, channels)
        except ValueError as error:
            raise ConfigError(f"{shown}, init='identity': {error}.") from error
    return name, block


def find_block(name: str | type, place: str) -> type:
    """Look up the class called ``name`` as mmcv does.

    Raises:
        ConfigError: There is none; the message begins with ``place``.
    """
    if inspect.isclass(name):
        return name
    with ROOT.switch_scope_and_registry(None) as registry:
        block_cls = registry.get(name) if isinstance(name, str) else None
    if block_cls is None:
        raise ConfigError(f"{place}: there is no block {name!r}.{_nearest_block(str(name))}")
    if not inspect.isclass(block_cls):
        raise ConfigError(f"{place}: {name!r} is a function, not a block.")
    return block_cls


def _nearest_block(name: str) -> str:
    """Suggest the nearest of our blocks, with their scope, and of those of mmcv."""
    MODELS.import_from_location()
    spelled = {key: key for key, cls in ROOT.module_dict.items() if is_block(cls)}
    ours = {key: f"mmattn.{key}" for key, cls in MODELS.module_dict.items() if is_block(cls)}
    spelled |= ours  # mmcv has some of the same name
    bare = name.rpartition(".")[2]
    folded = {key.lower(): key for key in spelled}
    if bare.lower() in folded:
        return f" Did you mean {spelled[folded[bare.lower()]]!r}?"
    hint = did_you_mean(bare, spelled)
    for key, spelling in spelled.items():
        hint = hint.replace(repr(key), repr(spelling))
    return f"{hint} mmattn has {', '.join(sorted(ours))}."


def is_block(cls: Any) -> bool:
    """Return whether ``cls`` is a module that needs ``in_channels`` and nothing else."""
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        return False
    named = [
        parameter
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    return (
        bool(named)
        and named[0].name == "in_channels"
        and all(other.default is not other.empty for other in named[1:])
    )


def _check_arguments(cls: type, arguments: Mapping[str, Any], place: str) -> None:
    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    if "in_channels" not in parameters:
        raise ConfigError(
            f"{place}: {cls.__name__} has no argument `in_channels`, so it cannot be used as a "
            "block."
        )
    for key in arguments:
        if key not in parameters:
            known = sorted(set(parameters) - {"in_channels"})
            raise ConfigError(
                f"{place}: unexpected argument {key!r} for {cls.__name__}."
                f"{did_you_mean(key, known)} It takes {', '.join(known) or 'no arguments'}."
            )
