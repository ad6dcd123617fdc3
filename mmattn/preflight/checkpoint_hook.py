"""Find arguments of a CheckpointHook that would fail when the first checkpoint is saved."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmattn.errors import ConfigError, did_you_mean
from mmattn.type_names import scope_and_name

#: What the registry and the runner take out of a hook's settings.
_OF_EVERY_HOOK = ("type", "priority", "_scope_")
#: Packages whose CheckpointHook is mmengine's; others may have one of this name.
_PACKAGES = ("mmengine", "mmdet", "mmseg", "mmattn")


def check_checkpoint_hooks(cfg: Mapping[str, Any], filename: str | None = None) -> None:
    """Refuse arguments that mmengine's CheckpointHook does not know.

    The hook keeps them (``**kwargs``) and hands them to ``Runner.save_checkpoint``, which ends in a
    TypeError when the first checkpoint is due, hours into a training.

    Args:
        cfg: The whole config.
        filename: Path of the config, used in messages.

    Raises:
        ConfigError: An argument is unknown; the message has its key and the nearest names.
    """
    if "runner_type" in cfg:
        return  # a runner of its own may take more
    known = _arguments()
    for place, hook in _checkpoint_hooks(cfg):
        for key in hook:
            if key not in known and key not in _OF_EVERY_HOOK:
                prefix = f"{filename}: " if filename else ""
                raise ConfigError(
                    f"{prefix}{place}.{key}={hook[key]!r}: unexpected argument {key!r} for "
                    f"CheckpointHook.{did_you_mean(key, known)}"
                )


def _checkpoint_hooks(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the settings of mmengine's CheckpointHooks with their keys."""
    named = cfg.get("default_hooks") or {}
    hooks = [(f"default_hooks.{name}", hook) for name, hook in named.items()]
    listed = enumerate(cfg.get("custom_hooks") or ())
    hooks += [(f"custom_hooks[{index}]", hook) for index, hook in listed]
    for place, hook in hooks:
        if not isinstance(hook, Mapping):
            continue
        # mmengine's runner takes default_hooks.checkpoint without a type for its own hook's.
        type_name = hook.get("type", "CheckpointHook" if place.endswith(".checkpoint") else None)
        scope, name = scope_and_name(type_name, "mmengine")
        if name == "CheckpointHook" and (scope or "").partition(".")[0] in _PACKAGES:
            yield place, hook


def _arguments() -> list[str]:
    from mmengine.hooks import CheckpointHook

    parameters = inspect.signature(CheckpointHook.__init__).parameters.values()
    return [p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD]
