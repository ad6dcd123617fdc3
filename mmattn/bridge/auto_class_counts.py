"""Say what ``num_classes="auto"`` needs where a model is built by others than mmattn's commands.

mmattn counts the classes of the data before it builds a model. ``init_model`` of mmseg and mmdet,
for example, builds the config as it is written, and torch would fail at the word with an error
about the formatting of strings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mmattn.errors import ConfigError

_AUTO = "auto"
_KEYS = ("num_classes", "num_things_classes", "num_stuff_classes")


def explain_auto(build_functions: ModuleType) -> None:
    """Make ``mmengine.registry.build_functions`` refuse models whose class count is open."""
    # Registries of models look it up there, by its name; the other registries hold their own.
    build_functions.build_from_cfg = _explaining(build_functions.build_from_cfg)


def _explaining(build: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(build)
    def build_from_cfg(cfg: Any, registry: Any, default_args: Any = None) -> Any:
        counts = [key for key in _KEYS if isinstance(cfg, dict) and cfg.get(key) == _AUTO]
        if counts:
            raise ConfigError(
                f"{cfg.get('type')}: {counts[0]}='auto' is the number of classes of the training "
                "data, which mmattn counts before it builds a model. Write the number, or take "
                "the config that a training left in its folder, or build the model by "
                "mmattn.inference.build_model(mmattn.config.load_config(CONFIG), CHECKPOINT)"
            )
        return build(cfg, registry, default_args)

    return build_from_cfg
