"""Use own data with any config, by three options of every command's ``--cfg-options``.

``data_root=DIR``
    Read the config's datasets from DIR: the same classes, layout and file names, another place.
``data=DIR``
    Replace the config's datasets by the images and masks of DIR, as ``mmattn.FolderSegDataset``;
    pipelines, crop sizes and the network stay, and every head that had a channel for each of the
    old classes gets one for each of the new ones.
``data.KEY=VALUE``
    Set an argument of the dataset of every split, such as ``data.mask_format=binary``.

The heads then say ``num_classes="auto"``, the number of classes of the training data, which is
counted before a model is built (``preflight/auto_classes.py``): reading a config opens no data.
The config that a run leaves in its folder has all of this written out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError
from mmattn.tasks import TASKS, Task, task_of
from mmattn.type_names import bare_name, scope_and_name

from .dataset_meta import dataset_meta
from .walk import LOADERS, leaf_datasets, rewrite, walk

if TYPE_CHECKING:
    from mmengine.config import Config

logger = logging.getLogger("mmattn")

AUTO = "auto"
#: Heads whose ``num_classes`` does not count the classes of the data.
_OTHER_COUNT = {head for task in TASKS for head in task.heads_of_other_counts}


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
            f"data_root={root}: no dataset of {cfg.filename} has a data_root. Set their paths "
            "with --cfg-options."
        )
    move = _moved(sorted(old, key=len, reverse=True), root)
    for key in (*LOADERS, "val_evaluator", "test_evaluator"):
        if cfg.get(key) is not None:
            cfg[key] = rewrite(cfg[key], move)
    if isinstance(cfg.get("data_root"), str):
        cfg.data_root = root


def use_folder(cfg: Config, folder: str) -> None:
    """Replace the datasets of ``cfg`` by the images and masks of ``folder``.

    Training takes the split ``train``, validation and test take ``val``.

    Raises:
        ConfigError: No dataset reads a folder for the config's task.
    """
    task = task_of(cfg)
    if task.folder_dataset is None:
        raise ConfigError(
            f"data={folder}: {cfg.filename} is not about semantic segmentation with mmseg's "
            f"models but about {task.name}, for which a folder of masks cannot be used yet. "
            f"data_root={folder} says where the config's own dataset lies"
        )
    old = _old_count(cfg)
    for key in [key for key in cfg if key != "model"]:
        if isinstance(cfg[key], (Mapping, list, tuple)):
            cfg[key] = rewrite(cfg[key], _folder_loaders(task))
    for loader in LOADERS:
        if cfg.get(loader) is not None:
            split = "train" if loader == "train_dataloader" else "val"
            cfg[loader]["dataset"] = _in_its_place(
                cfg[loader]["dataset"],
                {"type": task.folder_dataset, "data_root": folder, "split": split},
            )
    if isinstance(cfg.get("data_root"), str):
        cfg.data_root = folder
    for key in [key for key in cfg if key not in LOADERS]:  # the model and its variables
        if old and isinstance(cfg[key], (Mapping, list, tuple)):
            cfg[key] = rewrite(cfg[key], _open_counts(old), key)


def _old_count(cfg: Config) -> int | None:
    """Return the number of classes of the config's own data, else that of its head."""
    classes = dataset_meta(cfg).get("classes")
    if classes:
        return len(classes)
    head = (cfg.get("model") or {}).get("decode_head")
    head = head[-1] if isinstance(head, (list, tuple)) else head
    count = head.get("num_classes") if isinstance(head, Mapping) else None
    return count if isinstance(count, int) else None


def _open_counts(old: int) -> Callable[[str, Any], Any]:
    """Return a function for ``rewrite`` that writes ``"auto"`` for the old number of classes.

    It drops the class weights of these classes too.

    Query-based heads weigh "no object" as well; where the classes themselves weigh the same, so do
    the new ones.
    """

    def change(path: str, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value.get("num_classes") == old and bare_name(value.get("type")) not in _OTHER_COUNT:
            value["num_classes"] = AUTO
        weights = value.get("class_weight")
        if not isinstance(weights, (list, tuple)):
            return value
        if len(weights) == old:
            value["class_weight"] = None
            if path.startswith("model."):
                logger.warning(
                    "%s.class_weight was for the %d classes of the config's own data: left out",
                    *(path, old),
                )
        elif len(weights) == old + 1 and len(set(weights[:-1])) == 1:
            value["class_weight"] = [weights[0], AUTO, weights[-1]]
        return value

    return change


def awaits_class_count(class_weight: Any) -> bool:
    """Return whether weights await the number of classes; mmseg also takes the name of a file."""
    return isinstance(class_weight, (list, tuple)) and AUTO in class_weight


#: Arguments that mmcv's loader of images and mmattn's share.
_IMAGE_ARGUMENTS = {"type", "to_float32", "ignore_empty", "backend_args"}


def _folder_loaders(task: Task) -> Callable[[str, Any], Any]:
    """Return a function for ``rewrite`` that puts a folder's loaders into pipelines."""

    def change(path: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            scope, name = scope_and_name(value.get("type"), task.scope)
            if scope == task.scope and name in task.annotation_loaders:
                return {"type": task.folder_loader}
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
