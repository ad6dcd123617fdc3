"""Configs in Python syntax import from the standard library in a virtual environment."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from mmattn.bridge.builtin_modules import patch_builtin_modules

CONFIG = """
import math
import os.path
from mmdet.models import RetinaNet

root = os.path.join('data', 'coco')
number = math.sqrt(4)
model = dict(type=RetinaNet)
"""


def test_a_config_calls_the_standard_library(tmp_path: Path) -> None:
    from mmengine.config import Config

    file = tmp_path / "config.py"
    file.write_text(CONFIG)
    config = Config.fromfile(file, lazy_import=True)
    assert (Path(config.root), config.number) == (Path("data/coco"), 2.0)


def patched(original) -> ModuleType:
    module = ModuleType("config_utils")
    module._is_builtin_module = original
    patch_builtin_modules(module)
    return module


def test_the_standard_library_is_known_by_name() -> None:
    utils = patched(lambda name: name.startswith("mmengine.config"))
    assert all(map(utils._is_builtin_module, ("os", "os.path", "math", "mmengine.config.lazy")))
    assert not utils._is_builtin_module("mmdet.models")
    assert not utils._is_builtin_module(".neighbour")


def test_a_mmengine_that_knows_it_stays_as_it_is() -> None:
    def knows(name: str) -> bool:
        return name == "os"

    assert patched(knows)._is_builtin_module is knows
