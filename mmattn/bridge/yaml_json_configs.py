"""Keep mmengine from running what YAML and JSON files say (``mmattn.config.yaml_json_configs``).

mmengine reads YAML with PyYAML's full loader, which builds any object that a tag names, as soon as
a config is *read*. And a ``type`` that no registry has is imported by its name, whoever wrote it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

#: Endings of configs that are files of data.
_DATA = (".json", ".yaml", ".yml")


def patch_yaml_loader(handler_module: ModuleType) -> None:
    """Make mmengine read every YAML file, configs or not, with PyYAML's safe loader."""
    plain_load = handler_module.YamlHandler.load_from_fileobj

    def load_from_fileobj(self: Any, file: Any, **kwargs: Any) -> Any:
        from mmattn.io.plain_data import yaml_loader

        kwargs.setdefault("Loader", yaml_loader(fast=True))
        return plain_load(self, file, **kwargs)

    handler_module.YamlHandler.load_from_fileobj = load_from_fileobj


def patch_config_reader(config_module: ModuleType) -> None:
    """Make ``Config.fromfile`` check YAML and JSON configs, those in ``_base_`` as well."""
    config = config_module.Config
    file2dict, base_files, plain_load = (
        config._file2dict,
        config._get_base_files,
        config_module.load,
    )
    reading: list[str] = []  # paths of the configs that are read, the innermost last

    def read(copy: str) -> dict[str, Any]:
        from mmattn.config.yaml_json_configs import read_yaml_json

        return read_yaml_json(copy, reading[-1] if reading else copy)

    def checked_file2dict(filename: str, *args: Any, **kwargs: Any) -> Any:
        reading.append(str(filename))
        try:
            return file2dict(filename, *args, **kwargs)
        finally:
            reading.pop()

    def checked_base_files(filename: str) -> list:
        if not filename.lower().endswith(_DATA):
            return base_files(filename)
        bases = read(filename).get(config_module.BASE_KEY, [])
        return bases if isinstance(bases, list) else [bases]

    def checked_load(file: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(file, str) and file.lower().endswith(_DATA) and not (args or kwargs):
            return read(file)
        return plain_load(file, *args, **kwargs)

    config._file2dict = staticmethod(checked_file2dict)
    config._get_base_files = staticmethod(checked_base_files)
    config_module.load = checked_load


def patch_registry_fallback(registry_module: ModuleType) -> None:
    """Keep registries from importing a name that a file of data gave."""
    find = registry_module.get_object_from_string

    def find_unless_from_data(name: str) -> Any:
        # The first such file imports the module.
        configs = sys.modules.get("mmattn.config.yaml_json_configs")
        return None if configs is not None and name in configs.NAMES else find(name)

    registry_module.get_object_from_string = find_unless_from_data
