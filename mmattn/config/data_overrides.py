"""A user's own data in any config, by three options of every tool's ``--cfg-options``.

``data_root=DIR``
    The config's datasets lie in DIR: the same classes, layout and file names, another place.
``data=DIR``
    The images and masks of DIR take the place of the config's datasets, which become
    ``mmattn.FolderSegDataset``; pipelines, crop sizes and the network stay, and every head that
    had a channel for each of the old classes gets one for each of the new ones.
``data.KEY=VALUE``
    An argument of the dataset of every split, such as ``data.mask_rule=binary``.

And ``num_classes="auto"`` anywhere in a model is the number of classes of the training data.
The config that a run leaves in its folder has all of this written out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError, DataError
from mmattn.tasks import TASKS, Task, task_of
from mmattn.type_names import bare_name, scope_and_name

if TYPE_CHECKING:
    from mmengine.config import Config

logger = logging.getLogger("mmattn")

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
AUTO = "auto"
#: Heads whose ``num_classes`` does not count the classes of the data.
_OTHER_COUNT = {head for task in TASKS for head in task.heads_of_other_counts}


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of this module, and all others."""
    ours = {
        key: value
        for key, value in options.items()
        if key in ("data", "data_root") or key.startswith("data.")
    }
    return ours, {key: value for key, value in options.items() if key not in ours}


def apply_data_overrides(cfg: Config, options: Mapping[str, Any]) -> None:
    """Apply ``data_root``, ``data`` and ``data.KEY``, in this order.

    Raises:
        ConfigError: they do not fit the config.
    """
    if "data_root" in options:
        set_data_root(cfg, str(options["data_root"]))
    if "data" in options:
        use_folder(cfg, str(options["data"]))
    for key, value in options.items():
        if key.startswith("data."):
            _set_in_every_split(cfg, key.removeprefix("data."), value)


def set_data_root(cfg: Config, root: str) -> None:
    """Let every dataset of ``cfg``, and the files that its metrics read, lie under ``root``.

    Raises:
        ConfigError: No dataset of the config has a ``data_root``.
    """
    old: set[str] = set()
    for loader in LOADERS:
        _collect_roots(cfg.get(loader), old)
    if not old:
        raise ConfigError(
            f"data_root={root}: no dataset of {cfg.filename} has a data_root. Set their paths "
            "with --cfg-options."
        )
    for key in (*LOADERS, "val_evaluator", "test_evaluator"):
        if cfg.get(key) is not None:
            cfg[key] = _moved(cfg[key], sorted(old, key=len, reverse=True), root)
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
            cfg[key] = _with_folder_masks(cfg[key], task)
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
        if isinstance(cfg[key], (Mapping, list, tuple)):
            cfg[key] = _with_open_counts(cfg[key], old, key)


def fill_class_counts(cfg: Config) -> None:
    """Write the number of classes of the training data where the model says ``"auto"``.

    Weights of query-based heads, ``[1.0, "auto", 0.1]`` since ``use_folder``, become as many.

    Raises:
        ConfigError: no dataset says which classes it has.
        DataError: its files are not there or contradict themselves.
    """
    if not cfg.get("model") or not _has_auto(cfg.model):
        return
    count = _count(cfg)

    def fill(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(fill, value))
        if not isinstance(value, Mapping):
            return value
        made = {key: fill(inner) for key, inner in value.items()}
        if made.get("num_classes") == AUTO:
            made["num_classes"] = count
        if _is_open(made.get("class_weight")):
            first, _, last = made["class_weight"]
            made["class_weight"] = [first] * count + [last]
        return made

    for key in cfg:  # variables that went into the model as well
        if _has_auto(cfg[key]):
            cfg[key] = fill(cfg[key])


def _count(cfg: Config) -> int:
    from mmattn.preflight.data import lazy_dataset, leaf_datasets

    from .registry_scope import enter_scope

    enter_scope(cfg)
    loader = next((key for key in LOADERS if cfg.get(key) is not None), None)
    if loader is None:
        raise ConfigError(
            f"{cfg.filename}: num_classes='auto' is the number of classes of the data, but the "
            "config has no data: write the number"
        )
    counts: dict[str, int] = {}
    for where, leaf in leaf_datasets(cfg[loader]["dataset"], f"{loader}.dataset"):
        try:
            dataset = lazy_dataset(leaf, where)
        except DataError as error:
            raise DataError(
                f"{error}. (num_classes='auto' is counted there; the config that a training left "
                "in its folder holds the number.)"
            ) from error
        meta = {} if dataset is None else dataset.metainfo
        counts[where] = len(meta.get("classes") or ())
    if len(set(counts.values())) > 1 or not all(counts.values()):
        found = ", ".join(f"{where} has {count} classes" for where, count in counts.items())
        raise ConfigError(f"{cfg.filename}: num_classes='auto', but {found}: write the number")
    return next(iter(counts.values()))


def _old_count(cfg: Config) -> int | None:
    """How many classes the config's own data has, else its head."""
    from mmattn.inference.model import dataset_meta

    classes = dataset_meta(cfg).get("classes")
    if classes:
        return len(classes)
    head = (cfg.get("model") or {}).get("decode_head")
    head = head[-1] if isinstance(head, (list, tuple)) else head
    count = head.get("num_classes") if isinstance(head, Mapping) else None
    return count if isinstance(count, int) else None


def _with_open_counts(value: Any, old: int | None, place: str) -> Any:
    """A model config with ``"auto"`` for the old number of classes; weights for them are dropped.

    Query-based heads weigh "no object" as well; where the classes themselves weigh the same, so do
    the new ones.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(
            _with_open_counts(inner, old, f"{place}[{i}]") for i, inner in enumerate(value)
        )
    if not isinstance(value, Mapping):
        return value
    made = {key: _with_open_counts(inner, old, f"{place}.{key}") for key, inner in value.items()}
    if old and made.get("num_classes") == old and bare_name(made.get("type")) not in _OTHER_COUNT:
        made["num_classes"] = AUTO
    weights = made.get("class_weight")
    if isinstance(weights, (list, tuple)) and old:
        if len(weights) == old:
            made["class_weight"] = None
            if place.startswith("model."):
                logger.warning(
                    "%s.class_weight was for the %d classes of the config's own data: left out",
                    *(place, old),
                )
        elif len(weights) == old + 1 and len(set(weights[:-1])) == 1:
            made["class_weight"] = [weights[0], AUTO, weights[-1]]
    return made


def _is_open(class_weight: Any) -> bool:
    """Whether it awaits the number of classes; mmseg also takes the name of a file."""
    return isinstance(class_weight, (list, tuple)) and AUTO in class_weight


def _has_auto(value: Any) -> bool:
    if isinstance(value, Mapping):
        own = value.get("num_classes") == AUTO or _is_open(value.get("class_weight"))
        return own or any(map(_has_auto, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_auto, value))


def _with_folder_masks(value: Any, task: Task) -> Any:
    """Pipelines, at any depth, with the loader of a folder's masks."""
    if isinstance(value, (list, tuple)):
        return type(value)(_with_folder_masks(inner, task) for inner in value)
    if not isinstance(value, Mapping):
        return value
    scope, name = scope_and_name(value.get("type"), task.scope)
    if scope == task.scope and name in task.annotation_loaders:
        return {"type": task.folder_loader}
    return {key: _with_folder_masks(inner, task) for key, inner in value.items()}


def _in_its_place(dataset: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``new`` with the pipeline of the dataset inside wrappers, in these; joined ones are one."""
    if dataset.get("datasets"):
        return _in_its_place(dataset["datasets"][0], new)
    if isinstance(dataset.get("dataset"), Mapping):
        return {**dataset, "dataset": _in_its_place(dataset["dataset"], new)}
    return {**new, "pipeline": deepcopy(dataset.get("pipeline", []))}


def _set_in_every_split(cfg: Config, key: str, value: Any) -> None:
    from mmattn.preflight.data import leaf_datasets

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


def _collect_roots(value: Any, found: set[str]) -> None:
    if isinstance(value, Mapping):
        if isinstance(value.get("data_root"), str):
            found.add(value["data_root"])
        for inner in value.values():
            _collect_roots(inner, found)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _collect_roots(inner, found)


def _moved(value: Any, old: list[str], root: str) -> Any:
    """``value`` with paths under any of ``old`` moved to ``root``."""
    if isinstance(value, Mapping):
        return {key: _moved(inner, old, root) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(inner, old, root) for inner in value)
    if isinstance(value, str):
        for prefix in old:
            if value == prefix:
                return root.rstrip("/") + ("/" if prefix.endswith("/") else "")
            if prefix.strip("./") and value.startswith(prefix.rstrip("/") + "/"):
                return f"{root.rstrip('/')}/{value[len(prefix.rstrip('/')) + 1 :]}"
    return value
