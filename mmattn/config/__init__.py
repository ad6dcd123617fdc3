"""Configs: find, read, override and rewrite them. Reading a config never opens data."""

from __future__ import annotations

from .find import find_config as find_config
from .load import load_config as load_config
from .options import parse_cfg_options as parse_cfg_options

__all__ = ["find_config", "load_config", "parse_cfg_options"]
