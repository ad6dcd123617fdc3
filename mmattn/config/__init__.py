"""Configs: find, read, override and rewrite them. Reading a config never opens data."""

from __future__ import annotations

from .find import find_config as find_config
from .find import model_index as model_index
from .load import load_config as load_config
from .options import parse_cfg_options as parse_cfg_options
from .run_folders import find_run as find_run

__all__ = ["find_config", "find_run", "load_config", "model_index", "parse_cfg_options"]
