"""Depths and stages that a backbone does not have, by the table of its class."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmattn.config.walk import walk

from .config_arguments import class_of

_BACKBONE = re.compile(r"model(\.\w+(\[\d+\])?)*\.backbone")


def backbone_problems(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Yield depths and stages that a backbone does not have.

    The config's scope must have been entered (``enter_scope``).

    Args:
        cfg: The whole config.
    """
    scope = cfg.get("default_scope") or "mmengine"
    for path, block in walk(cfg.get("model"), "model"):
        if not isinstance(block, Mapping) or not _BACKBONE.fullmatch(path):
            continue
        name = block.get("type")
        if not isinstance(name, str):
            continue
        cls = class_of(name, ("MODELS",), block.get("_scope_") or scope)
        known = getattr(cls, "arch_settings", None)
        if not inspect.isclass(cls) or not isinstance(known, Mapping):
            continue
        depth = block.get("depth")
        if "depth" in block and (not isinstance(depth, (int, str)) or depth not in known):
            shown = ", ".join(map(str, known))
            yield f"{path}.depth={depth!r}: {cls.__name__} has {shown}"
            continue
        parameter = inspect.signature(cls.__init__).parameters.get("num_stages")
        stages = block.get("num_stages", parameter.default if parameter else None)
        if not isinstance(stages, int):
            continue
        out = block.get("out_indices")
        if isinstance(out, (list, tuple)) and any(isinstance(i, int) and i >= stages for i in out):
            yield f"{path}.out_indices={out}: {cls.__name__} has {stages} stages, numbered from 0"
        frozen = block.get("frozen_stages")
        if isinstance(frozen, int) and not -1 <= frozen <= stages:
            yield (
                f"{path}.frozen_stages={frozen}: {cls.__name__} has {stages} stages; -1 freezes "
                "none, 0 the stem alone"
            )
