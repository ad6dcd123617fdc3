"""Keep mmengine from running what YAML and JSON files say (``mmattn.config.data_configs``).

mmengine reads YAML with PyYAML's full loader, which builds any object that a tag names, as soon as
a config is *read*. And a ``type`` that no registry has is imported by its name, whoever wrote it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from mmattn.errors import DataError

_PICKLES = (".pkl", ".pickle")
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
        from mmattn.config.data_configs import read_data_config

        return read_data_config(copy, reading[-1] if reading else copy)

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
        configs = sys.modules.get("mmattn.config.data_configs")  # imported by the first such file
        return None if configs is not None and name in configs.NAMES else find(name)

    registry_module.get_object_from_string = find_unless_from_data


def refuse_annotation_pickles(module: ModuleType) -> None:
    """Make a module of datasets refuse annotation files that are pickles, before they are read."""
    plain_load = getattr(module, "load", None)
    if plain_load is None:  # another version reads its files otherwise
        return

    def load(file: Any, file_format: str | None = None, **kwargs: Any) -> Any:
        refuse_pickle(file, file_format)
        return plain_load(file, file_format=file_format, **kwargs)

    module.load = load


#: Modules of datasets that read annotation files with ``mmengine.fileio.load``.
READERS = (
    *("mmengine.dataset.base_dataset", "mmdet.datasets.base_det_dataset"),
    *("mmdet.datasets.crowdhuman", "mmdet.datasets.openimages", "mmseg.datasets.decathlon"),
)


def refuse_pickle(file: Any, file_format: str | None = None) -> None:
    """Refuse a file that mmengine would unpickle.

    Raises:
        DataError: It is one by its ending or by ``file_format``.
    """
    is_pickle = str(file).lower().endswith(_PICKLES) if file_format is None else False
    if is_pickle or file_format in ("pkl", "pickle"):
        raise DataError(
            f"{file} is a pickle, which runs what it contains when it is read: save the "
            "annotations as JSON where they were made (mmengine.dump(content, 'NAME.json')), and "
            "set ann_file to that"
        )
