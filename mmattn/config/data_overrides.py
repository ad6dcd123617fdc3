"""Use own data with any config, by three options of every command's ``--cfg-options``.

``data_root=DIR``
    Read the config's datasets from DIR: the same classes, layout and file names, another place.
``data=DIR``
    Replace the config's datasets by what DIR holds: images and masks for semantic segmentation, as
    ``mmattn.FolderSegDataset``; boxes, instance masks or panoptic maps for the tasks of mmdet, as
    ``mmattn.FolderDetDataset`` (``box_overrides.py``). Pipelines, crop sizes and the network stay,
    and every head that had a channel for each of the old classes gets one for each of the new ones.
``data.KEY=VALUE``
    Set an argument of the dataset of every split, such as ``data.mask_format=binary``.

The heads then say ``num_classes="auto"``, the number of classes of the training data, which is
counted before a model is built (``preflight/auto_classes.py``): reading a config opens no data.
The config that a run leaves in its folder has all of this written out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError
from mmattn.given_words import setting, word_of
from mmattn.tasks import Task, task_of
from mmattn.type_names import scope_and_name

from .box_overrides import (
    kept_settings,
    read_any_mask,
    refuse_foreign_training,
    use_box_metrics,
)
from .class_counts import open_counts, own_counts
from .read_keys import READ_KEYS
from .walk import LOADERS, leaf_datasets, rewrite, walk

if TYPE_CHECKING:
    from mmengine.config import Config


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split options into those of this module and all others."""
    ours = {
        key: value
        for key, value in options.items()
        if key in ("data", "data_root") or key.startswith("data.")
    }
    return ours, {key: value for key, value in options.items() if key not in ours}


def apply_data_overrides(cfg: Config, options: Mapping[str, Any]) -> None:
    """Apply ``data_root``, ``data`` and ``data.KEY``, in this order.

    Raises:
        ConfigError: An option does not fit the config.
    """
    if "data_root" in options:
        set_data_root(cfg, str(options["data_root"]))
    if "data" in options:
        use_folder(cfg, str(options["data"]))
    for key, value in options.items():
        if key.startswith("data."):
            _set_in_every_split(cfg, key.removeprefix("data."), value)


def set_data_root(cfg: Config, root: str) -> None:
    """Move every dataset of ``cfg``, and the files that its metrics read, to ``root``.

    Raises:
        ConfigError: No dataset of the config has a ``data_root``.
    """
    old = {
        value
        for loader in LOADERS
        for path, value in walk(cfg.get(loader))
        if path.rpartition(".")[2] == "data_root" and isinstance(value, str)
    }
    if not old:
        raise ConfigError(
            f"{setting(word_of('data_root', root), root)}: no dataset of {cfg.filename} has a "
            "data_root. Set the paths of each by its own keys."
        )
    move = _moved(sorted(old, key=len, reverse=True), root)
    for key in (*LOADERS, "val_evaluator", "test_evaluator"):
        if cfg.get(key) is not None:
            cfg[key] = rewrite(cfg[key], move)
    if isinstance(cfg.get("data_root"), str):
        cfg.data_root = root


def use_folder(cfg: Config, folder: str) -> None:
    """Replace the datasets of ``cfg`` by what ``folder`` holds for the config's task.

    Training takes the split ``train``, validation and test take ``val``.

    Raises:
        ConfigError: No dataset reads a folder for the config's task, or the config learns from more
            than one dataset.
    """
    task = task_of(cfg)
    if task.folder_dataset is None:
        raise ConfigError(
            f"data={folder}: {cfg.filename} is about {task.name} in the conventions of "
            f"{task.scope}, for which a folder cannot be used yet. data_root={folder} says where "
            "the config's own dataset lies"
        )
    boxes = task.folder_targets is not None
    if boxes:
        refuse_foreign_training(cfg, folder)
    old = own_counts(cfg)
    variables = variables_of_loaders(cfg)
    for key in [key for key in cfg if key != "model"]:
        if isinstance(cfg[key], (Mapping, list, tuple)):
            cfg[key] = rewrite(cfg[key], _folder_loaders(task))
    for loader in LOADERS:
        if cfg.get(loader) is not None:
            split = "train" if loader == "train_dataloader" else "val"
            new = {"type": task.folder_dataset, "data_root": folder, "split": split}
            if boxes:
                new |= {"targets": task.folder_targets, **kept_settings(cfg[loader]["dataset"])}
            cfg[loader]["dataset"] = _in_its_place(cfg[loader]["dataset"], new)
    if isinstance(cfg.get("data_root"), str):
        cfg.data_root = folder
    for key in [key for key in cfg if key not in LOADERS]:  # the model and its variables
        if old and isinstance(cfg[key], (Mapping, list, tuple)):
            cfg[key] = rewrite(cfg[key], open_counts(old), key)
    if boxes:
        use_box_metrics(cfg, task)
    follow_loaders(cfg, variables)


def variables_of_loaders(cfg: Config) -> dict[str, str]:
    """Return variables of the file -> the part of a loader that has their value."""
    parts = [(path, value) for path, value in _parts_of_loaders(cfg) if value]
    found: dict[str, str] = {}
    for key in [key for key in cfg if key not in READ_KEYS]:
        path = next((path for path, value in parts if value == cfg[key]), None)
        if path is not None:
            found[key] = path
    return found


def follow_loaders(cfg: Config, variables: Mapping[str, str]) -> None:
    """Give variables of the file the value that their part of a loader has now.

    Otherwise the config that a run leaves would hold settings that nothing uses; a variable of a
    part that is gone, such as the names of classes that a folder has itself, goes with it.

    Args:
        cfg: Config that was changed; its variables are changed in place.
        variables: What ``variables_of_loaders`` returned before.
    """
    used = dict(_parts_of_loaders(cfg))
    for key, path in variables.items():
        if path in used:
            cfg[key] = deepcopy(used[path])
        elif path.endswith(".metainfo"):
            cfg.pop(key)


def _parts_of_loaders(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Yield the datasets, pipelines and class names of the loaders with their paths."""
    for loader in LOADERS:
        for path, value in walk(cfg.get(loader), loader):
            if path.rpartition(".")[2] in ("dataset", "pipeline", "metainfo"):
                yield path, value


#: Arguments that mmcv's loader of images and mmattn's share.
_IMAGE_ARGUMENTS = {"type", "to_float32", "ignore_empty", "backend_args"}


def _folder_loaders(task: Task) -> Callable[[str, Any], Any]:
    """Return a function for ``rewrite`` that puts a folder's loaders into pipelines."""

    def change(path: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            scope, name = scope_and_name(value.get("type"), task.scope)
            if task.folder_loader and scope == task.scope and name in task.annotation_loaders:
                return {"type": task.folder_loader}
            if task.folder_targets == "masks" and name == "LoadAnnotations":
                value = read_any_mask(path, value)
            if name == "LoadImageFromFile" and scope != "mmattn" and set(value) <= _IMAGE_ARGUMENTS:
                return {**value, "type": "mmattn.LoadImageFromFile"}
        return value

    return change


def _in_its_place(dataset: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the innermost dataset by ``new``, keeping its pipeline and wrappers.

    Wrappers are ``RepeatDataset`` and the like; of a ``ConcatDataset`` the first dataset counts.
    """
    if dataset.get("datasets"):
        return _in_its_place(dataset["datasets"][0], new)
    if isinstance(dataset.get("dataset"), Mapping):
        return {**dataset, "dataset": _in_its_place(dataset["dataset"], new)}
    return {**new, "pipeline": deepcopy(dataset.get("pipeline", []))}


def _set_in_every_split(cfg: Config, key: str, value: Any) -> None:
    found = 0
    for loader in LOADERS:
        if cfg.get(loader) is not None:
            for _, leaf in leaf_datasets(cfg[loader]["dataset"], loader):
                _set(leaf, key, deepcopy(value))
                found += 1
    if not found:
        raise ConfigError(f"data.{key}={value}: {cfg.filename} has no dataset")


def _set(leaf: Any, key: str, value: Any) -> None:
    first, _, rest = key.partition(".")
    if not rest:
        leaf[first] = value
        return
    if first not in leaf:
        leaf[first] = {}
    _set(leaf[first], rest, value)


def _moved(old: list[str], root: str) -> Callable[[str, Any], Any]:
    """Return a function for ``rewrite`` that moves paths under any of ``old`` to ``root``."""

    def change(path: str, value: Any) -> Any:
        if isinstance(value, str):
            for prefix in old:
                if value == prefix:
                    return root.rstrip("/") + ("/" if prefix.endswith("/") else "")
                if prefix.strip("./") and value.startswith(prefix.rstrip("/") + "/"):
                    return f"{root.rstrip('/')}/{value[len(prefix.rstrip('/')) + 1 :]}"
        return value

    return change
