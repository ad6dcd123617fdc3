"""Services around a run: configs, models, hooks, pre-flight. Parts load on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

_HOME = {
    "load_config": "config",
    "find_config": "config",
    "build_model": "model",
    "parse_cfg_options": "config",
    # The module is not called "preflight": importing it would hide the function of that name.
    "preflight": "preflight_checks",
    "segment_images": "image_predictions",
    "test": "testing",
    "train": "training",
}
__all__ = [
    "build_model",
    "find_config",
    "load_config",
    "parse_cfg_options",
    "preflight",
    "segment_images",
    "test",
    "train",
]

if TYPE_CHECKING:
    from .config import find_config, load_config, parse_cfg_options
    from .image_predictions import segment_images
    from .model import build_model
    from .preflight_checks import preflight
    from .testing import test
    from .training import train


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
