"""Find misspelt top-level keys of a config, which the runner would silently ignore.

A config is also a place for plain variables (``crop_size``, ``train_pipeline``, ...), so an
unknown key is an error only when it is one slip away from a key that is read; an unused block of
settings is a warning, if the config's own file wrote it: unused blocks in `_base_`
files are not reported.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmattn.config.base_variables import late_data_root, late_variables
from mmattn.config.outdated import OUTDATED, outdated_keys
from mmattn.config.problems import refuse
from mmattn.config.read_keys import READ_KEYS
from mmattn.config.walk import rewrite, walk

from .slips import is_slip

logger = logging.getLogger("mmattn")

#: Variables of the usual configs that look like a slip of the above.
_VARIABLES = frozenset({"test_pipeline", "train_pipeline", "val_pipeline", "conv_cfg", "models"})


def check_keys(cfg: Mapping[str, Any], filename: str | None = None) -> list[str]:
    """Refuse misspelt and outdated top-level keys, and warn of settings that nothing uses.

    Args:
        cfg: The whole config.
        filename: Path of the config, used in messages.

    Returns:
        Blocks of settings that nothing uses; they are logged as a warning.

    Raises:
        ConfigError: A key is one slip away from one that is read, or the config is outdated.
    """
    refuse(key_problems(cfg), filename)
    return warn_of_unused(cfg, filename)


def warn_of_unused(cfg: Mapping[str, Any], filename: str | None = None) -> list[str]:
    """Log settings that have no effect; arguments and result are those of ``check_keys``."""
    unused = unused_blocks(cfg, filename)
    if unused:
        where = f"{filename}: " if filename else ""
        logger.warning(
            "%snothing uses %s: the settings there have no effect", where, ", ".join(unused)
        )
    for late in late_variables(cfg, filename):
        if late.name != "data_root":  # refused, unless the datasets name it
            logger.warning("%s: %s", filename, late)
    return unused


def key_problems(cfg: Mapping[str, Any]) -> list[str]:
    """List misspelt, outdated and ineffective top-level keys.

    Outdated are those of a config of the time before mmengine; without effect is a ``data_root``
    that comes after a base has used its own.
    """
    unread = _unread(cfg)
    filename = getattr(cfg, "filename", None)
    late = late_data_root(cfg, late_variables(cfg, filename))
    problems = [late] if late else []
    for key in unread:
        near = nearest_read_key(key)
        if near:
            problems.append(f"nothing reads the key {key!r}. Did you mean {near!r}?")
    problems += [
        f"nothing reads the key {key!r}. Did you mean '_base_'?"
        for key in cfg
        if key.startswith("_") and is_slip(key, "_base_")
    ]
    outdated = outdated_keys(cfg)
    if outdated:
        changes = "; ".join(f"{key} is now {OUTDATED[key]}" for key in outdated)
        problems.append(f"a config of the time before mmengine: {changes}")
    return problems


def unused_blocks(cfg: Mapping[str, Any], filename: str | None = None) -> list[str]:
    """List blocks of settings that the config's own file writes and nothing uses."""
    own = _own_names(filename)
    return [key for key in _unused_blocks(cfg, _unread(cfg)) if own is None or key in own]


def _unread(cfg: Mapping[str, Any]) -> list[str]:
    return [k for k in cfg if k not in READ_KEYS and not k.startswith("_")]


def nearest_read_key(key: str) -> str | None:
    """Return the key that is read and one slip away from ``key``, two in long names."""
    if key in READ_KEYS or key in _VARIABLES:
        return None
    return next((known for known in sorted(READ_KEYS) if is_slip(key, known)), None)


def _unused_blocks(cfg: Mapping[str, Any], unread: list[str]) -> list[str]:
    """Unread keys with settings (a ``dict`` or a list of them) that nothing read contains."""
    used: list[Any] = []
    for key in READ_KEYS & set(cfg):
        blocks = (value for _, value in walk(_without_scopes(cfg[key])))
        used.extend(value for value in blocks if isinstance(value, (Mapping, list, tuple)))
    return [
        key
        for key in unread
        if _is_block(cfg[key]) and not _is_used(_without_scopes(cfg[key]), used)
    ]


def _without_scopes(value: Any) -> Any:
    """Return settings without the ``_scope_`` that mmengine writes into inherited ones.

    It writes it into a variable and not into the place where the base has used that.
    """

    def change(path: str, inner: Any) -> Any:
        if isinstance(inner, Mapping):
            return {key: one for key, one in inner.items() if key != "_scope_"}
        return inner

    return rewrite(value, change)


def _is_block(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping) and bool(value)


def _is_used(value: Any, used: list[Any]) -> bool:
    """Return whether a block went into another one, whole or spread."""
    if isinstance(value, Mapping):
        return any(
            all(key in block and _is_inside(item, block[key]) for key, item in value.items())
            for block in used
            if isinstance(block, Mapping)
        )
    # In one piece: the steps of a pipeline that is not used mostly occur in the one that is.
    items, count = list(value), len(value)
    return any(
        list(block[start : start + count]) == items
        for block in used
        if isinstance(block, (list, tuple))
        for start in range(len(block) - count + 1)
    )


def _is_inside(value: Any, block: Any) -> bool:
    """Return whether ``block`` is ``value``, or what mmengine merged it with."""
    if isinstance(value, Mapping) and isinstance(block, Mapping):
        return all(key in block and _is_inside(item, block[key]) for key, item in value.items())
    return bool(value == block)


def _own_names(filename: str | None) -> set[str] | None:
    """Return the names that a Python config assigns and does not itself put into what is read.

    None where that cannot be told. A base may rewrite what such a variable holds, and a merge may
    add to it, so that it is found nowhere as it was written; that its name is used is enough.
    """
    if filename is None or not filename.endswith(".py") or not Path(filename).is_file():
        return None
    statements = ast.parse(Path(filename).read_text(encoding="utf-8")).body
    parts = [(_names(node, ast.Store), _names(node, ast.Load)) for node in statements]
    assigned = set().union(*(stored for stored, _ in parts)) if parts else set()
    used: set[str] = set()
    while True:  # what is used by a used variable is used
        reached = {
            name
            for stored, loaded in parts
            if not stored or stored & (READ_KEYS | used)
            for name in loaded
        }
        if reached <= used:
            return assigned - used
        used |= reached


def _names(node: ast.AST, context: type) -> set[str]:
    names = (inner for inner in ast.walk(node) if isinstance(inner, ast.Name))
    found = {name.id for name in names if isinstance(name.ctx, context)}
    if context is ast.Store and isinstance(node, (ast.Assign, ast.AugAssign)):
        # "model['neck'] = neck" and "model.neck = neck" change model, which they load.
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            while isinstance(target, (ast.Subscript, ast.Attribute)):
                target = target.value
            if isinstance(target, ast.Name):
                found.add(target.id)
    return found
