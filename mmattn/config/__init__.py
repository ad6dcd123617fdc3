"""Configs: find, read, override and rewrite them. Reading a config never opens data."""

from __future__ import annotations

from .load import find_config as find_config
from .load import load_config as load_config
from .load import parse_cfg_options as parse_cfg_options

__all__ = ["find_config", "load_config", "parse_cfg_options"]
